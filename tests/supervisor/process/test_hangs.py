"""Stalled work is found and repaired, deadlines move with the clock, and agents that hang repeatedly are handled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.agent.state import WorkingState
from actors.home import Home
from actors.runtime.context import Runtime
from actors.runtime.wake import Waker
from actors.settings import Config
from actors.work import assignment
from actors.work.stalls import Rounds, find
from store import crew as rows
from store import inbox, incidents, tasks, timers
from store.engine import Store
from store.states import Activity, AgentState, ProjectState, Role, TaskState
from supervisor.upkeep.clock import wall_drift
from supervisor.upkeep.shifted_clock import VARIABLE, ShiftedClock
from tests.support.crews import Crew
from tests.support.stores import NOW, add_project, new_incarnation, open_store, put
from tests.support.waiting import eventually

STALL_S = 60.0
LATER = NOW + 1_000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "crew.db")
    yield made
    made.close()


def _team(store: Store, *names: str, activity: Activity = Activity.IDLE, **values: Any) -> None:
    """Agents of the project `shop` that run since long ago."""
    roles = {"pm": Role.PROJECT_MANAGER, "engineer": Role.ENGINEER, "gate": None}
    with store.write() as tx:
        for name in names:
            role = roles[name.split(".")[0].split("-")[0]]
            kind = "gate" if role is None else "agent"
            rows.add_agent(tx, name=name, kind=kind, role=role, project="shop", now=NOW)
            rows.change_agent(tx, name, state=AgentState.RUNNING, ready_at=NOW, activity=activity)
            if values:
                rows.change_agent(tx, name, **values)


@pytest.fixture
def shop(store: Store) -> Store:
    add_project(store, "shop")
    with store.write() as tx:
        rows.add_agent(tx, name="timer", kind="timer", role=None, project=None, now=NOW)
        rows.change_agent(tx, "timer", state=AgentState.RUNNING, ready_at=NOW)
    return store


def _task(store: Store, state: TaskState, *, assignee: str | None = None) -> int:
    steps = [TaskState.ASSIGNED, TaskState.IN_PROGRESS, TaskState.SUBMITTED, TaskState.CHECKING]
    with store.write() as tx:
        task = tasks.add(
            tx,
            project="shop",
            title="one",
            description="",
            role=Role.ENGINEER,
            deliverable=1,
            by="pm",
            now=NOW,
        )
        for step in steps[: steps.index(state) + 1] if state in steps else []:
            tasks.move(tx, task, step, by="t", reason="", now=NOW, assignee=assignee, submitted_commit="c1")
        if assignee is not None:
            rows.change_agent(tx, assignee, task=task)
    return task


def _kinds(store: Store, now: float = LATER) -> list[str]:
    return [stall.kind for stall in find(store, now, STALL_S)]


def _rounds(store: Store) -> Rounds:
    return Rounds(store, new_incarnation(store, "timer"), STALL_S)


def _unread(store: Store, name: str) -> list[str]:
    return [row.kind for row in inbox.listed(store, recipient=name)]


# -- what is found -------------------------------------------------------------------------------


def test_a_crew_in_which_everybody_works_or_has_nothing_to_do_has_no_stall(shop: Store) -> None:
    _team(shop, "pm.shop", "gate.shop")
    _team(shop, "engineer-1.shop", activity=Activity.MODEL, deadline_at=LATER + 1)
    _task(shop, TaskState.IN_PROGRESS, assignee="engineer-1.shop")
    assert _kinds(shop) == []


def test_a_planned_task_is_assigned_at_the_second_check_when_an_agent_is_free(shop: Store) -> None:
    _team(shop, "pm.shop", "engineer-1.shop")
    task = _task(shop, TaskState.PLANNED)
    rounds = _rounds(shop)
    rounds.look(LATER)
    assert tasks.get(shop, task).state == TaskState.PLANNED, "one look may be a transaction's moment"
    rounds.look(LATER + STALL_S)
    assert tasks.get(shop, task).assignee == "engineer-1.shop"
    assert _unread(shop, "engineer-1.shop") == ["task_assigned"]
    assert incidents.counts(shop) == {"work_stalled": 1}


def test_a_planned_task_without_a_free_agent_is_no_incident(shop: Store) -> None:
    with shop.write() as tx:
        tx.connection.exec_driver_sql("UPDATE projects SET engineers = 1")
    _team(shop, "pm.shop")
    _team(shop, "engineer-1.shop", activity=Activity.TOOL, deadline_at=LATER + 900, task=99)
    _task(shop, TaskState.PLANNED)
    rounds = _rounds(shop)
    for look in range(4):
        rounds.look(LATER + look * STALL_S)
    assert incidents.counts(shop) == {}


@pytest.mark.parametrize(
    ("state", "expected"),
    [(TaskState.ASSIGNED, "task_assigned"), (TaskState.IN_PROGRESS, "task_returned")],
)
def test_an_assignee_that_missed_its_assignment_is_notified_again(
    shop: Store, state: TaskState, expected: str
) -> None:
    _team(shop, "pm.shop", "engineer-1.shop")
    _task(shop, state, assignee="engineer-1.shop")
    rounds = _rounds(shop)
    for look in range(3):
        rounds.look(LATER + look * STALL_S)
    assert _unread(shop, "engineer-1.shop") == [expected], "once: from then on it knows"


def test_an_engineer_that_waits_for_an_answer_with_a_deadline_is_left_alone(shop: Store) -> None:
    _team(shop, "pm.shop", "engineer-1.shop")
    _task(shop, TaskState.IN_PROGRESS, assignee="engineer-1.shop")
    with shop.write() as tx:
        timers.add(tx, recipient="engineer-1.shop", note="", due_at=LATER + 900, created_by="crew", now=LATER)
    assert _kinds(shop) == []


@pytest.mark.parametrize("state", [TaskState.SUBMITTED, TaskState.CHECKING])
def test_a_submission_that_the_gate_missed_is_sent_again(shop: Store, state: TaskState) -> None:
    _team(shop, "pm.shop", "gate.shop")
    _team(shop, "engineer-1.shop")
    _task(shop, state, assignee="engineer-1.shop")
    rounds = _rounds(shop)
    for look in range(3):
        rounds.look(LATER + look * STALL_S)
    assert _unread(shop, "gate.shop") == ["task_submitted"]


def test_a_manager_whose_tasks_have_all_ended_is_reminded_to_finish(shop: Store) -> None:
    _team(shop, "pm.shop")
    task = _task(shop, TaskState.PLANNED)
    with shop.write() as tx:
        tasks.move(tx, task, TaskState.PARKED, by="t", reason="", now=NOW)
    rounds = _rounds(shop)
    rounds.look(LATER)
    rounds.look(LATER + STALL_S)
    assert _unread(shop, "pm.shop") == ["check_in"]


def test_a_message_before_an_idle_agent_wakes_it_and_then_has_it_replaced(tmp_path: Path) -> None:
    woken: list[str] = []
    store = open_store(tmp_path / "woken.db", notify=woken.extend)
    add_project(store, "shop")
    _team(store, "engineer-1.shop")
    with store.write() as tx:
        rows.add_agent(tx, name="timer", kind="timer", role=None, project=None, now=NOW)
        put(tx, "engineer-1.shop")
    woken.clear()
    rounds = _rounds(store)
    rounds.look(LATER)
    assert woken == []
    rounds.look(LATER + STALL_S)
    assert woken == ["engineer-1.shop"]
    assert assignment.past_deadline(store, LATER + STALL_S) == []
    rounds.look(LATER + 2 * STALL_S)
    assert [row.name for row in assignment.past_deadline(store, LATER + 2 * STALL_S)] == ["engineer-1.shop"]
    store.close()


def test_a_claimed_message_before_an_idle_agent_is_a_stall_and_before_a_busy_one_none(shop: Store) -> None:
    _team(shop, "engineer-1.shop")
    with shop.write() as tx:
        message = put(tx, "engineer-1.shop")
        inbox.claim(tx, message, generation=0, now=NOW)
    assert _kinds(shop) == ["deaf"]
    with shop.write() as tx:
        rows.change_agent(tx, "engineer-1.shop", activity=Activity.MODEL, deadline_at=LATER + 1)
    assert _kinds(shop) == []


@pytest.mark.parametrize("activity", [Activity.PAUSED, Activity.WAITING, Activity.NO_SPACE])
def test_who_waits_for_good_reason_is_not_deaf(shop: Store, activity: Activity) -> None:
    _team(shop, "engineer-1.shop", activity=activity)
    with shop.write() as tx:
        put(tx, "engineer-1.shop")
    assert _kinds(shop) == []


def test_a_message_to_a_wanted_agent_without_a_process_notifies_the_supervisor(shop: Store) -> None:
    _team(shop, "engineer-1.shop")
    with shop.write() as tx:
        rows.change_agent(tx, "engineer-1.shop", state=AgentState.STOPPED)
        put(tx, "engineer-1.shop")
    rounds = _rounds(shop)
    rounds.look(LATER)
    rounds.look(LATER + STALL_S)
    assert _unread(shop, "supervisor") == ["project_changed"]


def test_a_paused_project_is_not_checked_for_stalls(shop: Store) -> None:
    _team(shop, "pm.shop", "engineer-1.shop")
    _task(shop, TaskState.PLANNED)
    with shop.write() as tx:
        put(tx, "engineer-1.shop")
        rows.set_project_state(tx, "shop", ProjectState.PAUSED)
    assert _kinds(shop) == []


def test_rounds_go_on_after_the_clock_was_set_back(shop: Store) -> None:
    _team(shop, "engineer-1.shop")
    rounds = _rounds(shop)
    rounds.look(LATER)
    earlier = LATER - 86_400
    assert rounds.look(earlier) == earlier + STALL_S


def test_a_task_may_go_to_a_new_engineer_when_rounds_find_it(shop: Store) -> None:
    _team(shop, "pm.shop")
    task = _task(shop, TaskState.PLANNED)
    rounds = _rounds(shop)
    rounds.look(LATER)
    rounds.look(LATER + STALL_S)
    assert tasks.get(shop, task).assignee == assignment.member("shop", Role.ENGINEER, 1)


# -- deadlines and the clock ---------------------------------------------------------------------


def test_a_sleep_moves_every_deadline_and_is_written_down(shop: Store) -> None:
    _team(shop, "engineer-1.shop", activity=Activity.MODEL, deadline_at=NOW + 10)
    _team(shop, "pm.shop")
    with shop.write() as tx:
        assignment.stretch_deadlines(tx, 7_200.0, slept_s=7_200.0, now=NOW + 7_200)
    assert rows.agent(shop, "engineer-1.shop").deadline_at == NOW + 7_210
    assert rows.agent(shop, "pm.shop").deadline_at is None
    assert assignment.past_deadline(shop, NOW + 7_205) == []
    assert incidents.counts(shop) == {"machine_slept": 1}


@pytest.mark.parametrize("drift_s", [7_200.0, -7_200.0])
def test_a_deadline_that_was_set_after_the_clock_changed_stays_as_it_is(shop: Store, drift_s: float) -> None:
    """Between the change and the tick that sees it, agents go on and write by the new time."""
    now = NOW + drift_s
    old, new = now - drift_s, now - 0.5
    _team(shop, "engineer-1.shop", activity=Activity.MODEL, activity_since=old, deadline_at=old + 60)
    _team(shop, "engineer-2.shop", activity=Activity.MODEL, activity_since=new, deadline_at=new + 60)
    with shop.write() as tx:
        assignment.stretch_deadlines(tx, drift_s, slept_s=0.0, now=now)
    assert rows.agent(shop, "engineer-1.shop").deadline_at == old + 60 + drift_s
    assert rows.agent(shop, "engineer-2.shop").deadline_at == new + 60
    assert assignment.past_deadline(shop, now) == []


def test_a_clock_that_was_set_back_leaves_no_message_in_the_future(shop: Store) -> None:
    _team(shop, "engineer-1.shop")
    with shop.write() as tx:
        put(tx, "engineer-1.shop", now=NOW)
        assignment.stretch_deadlines(tx, -3_600.0, slept_s=0.0, now=NOW - 3_600)
    assert inbox.peek(shop, "engineer-1.shop", now=NOW - 3_600) is not None
    assert incidents.counts(shop) == {"clock_was_set": 1}


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


# -- hanging over and over -----------------------------------------------------------------------


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


# -- an agent's own deadlines --------------------------------------------------------------------


def _state(store: Store, home: Home, clock: list[float]) -> WorkingState:
    with store.write() as tx:
        rows.add_agent(tx, name="engineer-1.shop", kind="agent", role=Role.ENGINEER, project="shop", now=NOW)
    fence = new_incarnation(store, "engineer-1.shop")
    runtime = Runtime(
        fence.agent, fence.generation, home, Config(), store, Waker(home.run), clock=lambda: clock[0]
    )
    return WorkingState(runtime, rows.agent(store, fence.agent))


def test_each_model_call_has_its_whole_time_whatever_came_before_it_without_a_commit(
    shop: Store, tmp_path: Path
) -> None:
    clock = [NOW]
    home = Home(tmp_path / "home")
    home.make()
    state = _state(shop, home, clock)
    limits = state.runtime.config.model.limits
    for _ in range(5):  # as five malformed replies in a row, each after nearly all the time there is
        state.expect(Activity.MODEL)
        row = rows.agent(shop, state.runtime.name)
        assert row.activity == Activity.MODEL
        assert row.deadline_at is not None
        assert row.deadline_at >= clock[0] + limits.connect_s + limits.total_s
        clock[0] += limits.total_s
        assert assignment.past_deadline(shop, clock[0]) == []
    state.runtime.waker.close()


def test_a_deadline_that_is_far_enough_costs_no_commit(shop: Store, tmp_path: Path) -> None:
    clock = [NOW]
    home = Home(tmp_path / "home")
    home.make()
    state = _state(shop, home, clock)
    state.expect(Activity.MODEL)
    before = rows.agent(shop, state.runtime.name)
    clock[0] += 30
    state.expect(Activity.MODEL)
    assert rows.agent(shop, state.runtime.name) == before
    state.expect(Activity.WAITING, 1_800.0, at_least_s=900.0)
    assert rows.agent(shop, state.runtime.name).deadline_at == clock[0] + 1_800
    state.runtime.waker.close()
