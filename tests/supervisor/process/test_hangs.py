"""Agents are not late for what the clock did, and one that hangs again and again is quarantined."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from actors.home import Home
from store import crew as rows
from store import incidents
from store.states import Activity, AgentState
from supervisor.upkeep.clock import wall_drift
from supervisor.upkeep.shifted_clock import VARIABLE, ShiftedClock
from tests.support.crews import Crew
from tests.support.waiting import eventually


def test_drift_is_seen_both_ways_and_once() -> None:
    drift = wall_drift()
    wall = [1_000.0]
    drift.elapsed_s, drift.awake_s = lambda: wall[0], lambda: 0.0
    assert drift.drift() == 0.0
    wall[0] += 3_600
    assert (drift.drift(), drift.drift()) == (3_600.0, 0.0)
    wall[0] -= 7_200
    assert (drift.drift(), drift.drift()) == (-7_200.0, 0.0)


@pytest.mark.parametrize("what", ["sleep", "jump"])
def test_an_agent_is_not_late_for_what_the_clock_did_while_it_worked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    clock = ShiftedClock(tmp_path / "clock")
    monkeypatch.setenv(VARIABLE, str(clock.path))
    crew = Crew(Home(tmp_path / "home"))
    crew.open()
    try:
        crew.up()
        crew.want("a")
        pid = crew.running("a")
        with crew.store.write() as tx:
            rows.change_agent(tx, "a", activity=Activity.MODEL, deadline_at=time.time() + 30)
        before = crew.row("a").deadline_at or 0.0
        getattr(clock, what)(7_200.0)
        eventually(lambda: (crew.row("a").deadline_at or 0.0) > before + 7_000, "its deadline is stretched")
        assert crew.running("a") == pid, "nobody was killed"
        assert "agent_hung" not in incidents.counts(crew.store)
    finally:
        crew.close()


def test_an_actor_that_hangs_again_and_again_is_quarantined_like_one_that_crashes(tmp_path: Path) -> None:
    crew = Crew(Home(tmp_path / "home"), settings={"intensity": 2})
    crew.open()
    try:
        crew.up()
        crew.want("a")
        for generation in (1, 2, 3):
            crew.running("a", generation=generation)
            with crew.store.write() as tx:
                rows.change_agent(tx, "a", deadline_at=time.time() - 1)
        eventually(lambda: crew.row("a").state == AgentState.QUARANTINED, "it is quarantined")
        assert incidents.counts(crew.store)["agent_hung"] == 3
        assert "3 crashes in" in (crew.row("a").reason or "")
    finally:
        crew.close()
