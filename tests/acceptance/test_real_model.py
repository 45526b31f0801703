"""Whole agents driven by a real model that writes nonsense: SmolLM2-135M behind a shim that speaks Ollama's protocol.

Whatever it says, nothing may crash, hang or be merged, every budget must bite, and the report must say so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store import crew, incidents, tasks
from store.rows import Incident
from store.states import ProjectState, TaskState
from tests.actors.model.tiny_model import NoTinyModel, packages
from tests.support.nights import PROJECT, ROOT
from tests.support.tiny_nights import TinyNight, cache_share, served, tiny_model
from tests.support.waiting import eventually

WORSE = ("agent_restarted", "agent_hung", "agent_quarantined", "dead_letter", "prompt_cut", "supervisor_died")
SHORT_S = 100
LONG_S = 30 * 60


@pytest.fixture
def model(tmp_path: Path) -> Iterator[str]:
    try:
        packages()
    except NoTinyModel as error:
        pytest.skip(f"THE REAL MODEL IS NOT TESTED: {error}")
    with tiny_model(tmp_path / "shim.log") as url:
        yield url


def test_a_crew_of_nonsense_ends_its_project_by_its_budgets_with_nothing_merged(
    tmp_path: Path, model: str
) -> None:
    night = TinyNight(tmp_path / "night", model, steps=3)
    night.folder.mkdir()
    night.prepare()
    try:
        night.start()
        began = time.monotonic()
        _until_finished(night, within_s=2 * SHORT_S, until=began + SHORT_S)
        _assert_sound(night, model)
        requests = served(model)
        told = (
            f"{time.monotonic() - began:.0f} s, {len(requests)} replies, {cache_share(requests):.1%} cached"
        )
        print(f"\n{told}")
        assert cache_share(requests) >= 0.9
        if _state(night) != ProjectState.FINISHED:
            pytest.skip(f"sound so far, but this machine is too busy to see the project's end: {told}")
        rows = tasks.of_project(night.store, PROJECT)
        assert rows
        assert {row.state for row in rows} == {TaskState.PARKED}
        rungs = {row.detail["rung"] for row in _incidents(night, "ladder_climbed")}
        assert {"fresh_context", "other_sampling", "parked"} <= rungs
    finally:
        night.close()


@pytest.mark.slow
@pytest.mark.timeout(LONG_S + 300)
def test_half_an_hour_of_nonsense_crashes_and_wedges_nobody(tmp_path: Path, model: str) -> None:
    until = time.monotonic() + LONG_S
    replies = 0
    for number in range(1000):
        if time.monotonic() > until:
            break
        night = TinyNight(tmp_path / f"night-{number}", model, steps=30)
        night.folder.mkdir()
        night.prepare()
        try:
            night.start()
            _until_finished(night, within_s=LONG_S, until=until)
            _assert_sound(night, model)
        finally:
            night.close()
        before, replies = replies, len(served(model))
        assert replies > before, "the model was not asked any more"
    assert cache_share(served(model)) >= 0.9


def _until_finished(night: TinyNight, *, within_s: float, until: float | None = None) -> None:
    """The project's end; or, with `until` (monotonic), that time. Someone must make progress all the while."""

    def over() -> bool:
        night.watch_over()
        if until is not None and time.monotonic() > until:
            return True
        assert _silence_s(night) < 90, "nobody made progress for 90 s"
        return _state(night) == ProjectState.FINISHED

    eventually(over, f"the project ends\n{night.said()}", within_s=within_s)


def _state(night: TinyNight) -> str:
    return str(crew.project(night.store, PROJECT).state)


def _silence_s(night: TinyNight) -> float:
    team = crew.all_agents(night.store, project=PROJECT)
    latest = max((row.last_progress_at or row.created_at for row in team), default=time.time())
    return time.time() - float(latest)


def _assert_sound(night: TinyNight, model: str) -> None:
    """Nothing crashed, nothing was merged, and the report says as much."""
    counts = incidents.counts(night.store)
    assert {kind: counts[kind] for kind in WORSE if kind in counts} == {}
    report = _report(night)
    assert [task for task in report["tasks"] if task["state"] == "merged"] == []
    assert [row["merged"] for row in report["deliverables"]] == [False, False]
    assert served(model), "the model was never asked"


def _incidents(night: TinyNight, kind: str) -> list[Incident]:
    return [row for row in incidents.listed(night.store) if row.kind == kind]


def _report(night: TinyNight) -> dict[str, Any]:
    """`nightcrew report --json`, as a user would ask for it."""
    words = [sys.executable, "-m", "supervisor.cli", "--home", str(night.home.path), "report", "--json"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NIGHTCREW_")}
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, env=environment, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    (project,) = json.loads(done.stdout)["projects"]
    return dict(project)
