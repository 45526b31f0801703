"""Work that is ready while nobody works on it is found by two checks in a row and started again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.work import deadlines, team
from actors.work.stalls import StallCheck, find_stalls
from store import crew as rows
from store import inbox, incidents, tasks, timers
from store.engine import Store
from store.states import Activity, AgentState, ProjectState, Role, TaskState
from tests.support.stores import NOW, add_project, new_incarnation, open_store, put

STALL_S = 60.0
LATER = NOW + 1_000.0


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
    return [stall.kind for stall in find_stalls(store, now, STALL_S)]


def _checking(store: Store) -> StallCheck:
    return StallCheck(store, new_incarnation(store, "timer"), STALL_S)


def _unread(store: Store, name: str) -> list[str]:
    return [row.kind for row in inbox.listed(store, recipient=name)]


def test_crew_whose_agents_work_or_have_nothing_to_do_has_no_stall(shop: Store) -> None:
    _team(shop, "pm.shop", "gate.shop")
    _team(shop, "engineer-1.shop", activity=Activity.MODEL, deadline_at=LATER + 1)
    _task(shop, TaskState.IN_PROGRESS, assignee="engineer-1.shop")
    assert _kinds(shop) == []


def test_a_planned_task_is_assigned_at_the_second_check_when_an_agent_is_free(shop: Store) -> None:
    _team(shop, "pm.shop", "engineer-1.shop")
    task = _task(shop, TaskState.PLANNED)
    check = _checking(shop)
    check.run_if_due(LATER)
    assert tasks.get(shop, task).state == TaskState.PLANNED, "one check may fall into a transaction"
    check.run_if_due(LATER + STALL_S)
    assert tasks.get(shop, task).assignee == "engineer-1.shop"
    assert _unread(shop, "engineer-1.shop") == ["task_assigned"]
    assert incidents.counts(shop) == {"work_stalled": 1}


def test_a_planned_task_without_a_free_agent_is_no_incident(shop: Store) -> None:
    with shop.write() as tx:
        tx.connection.exec_driver_sql("UPDATE projects SET engineers = 1")
    _team(shop, "pm.shop")
    _team(shop, "engineer-1.shop", activity=Activity.TOOL, deadline_at=LATER + 900, task=99)
    _task(shop, TaskState.PLANNED)
    check = _checking(shop)
    for number in range(4):
        check.run_if_due(LATER + number * STALL_S)
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
    check = _checking(shop)
    for number in range(3):
        check.run_if_due(LATER + number * STALL_S)
    assert _unread(shop, "engineer-1.shop") == [expected], "only once, because then it has the message"


def test_engineer_that_waits_for_an_answer_is_left_alone(shop: Store) -> None:
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
    check = _checking(shop)
    for number in range(3):
        check.run_if_due(LATER + number * STALL_S)
    assert _unread(shop, "gate.shop") == ["task_submitted"]


def test_a_manager_whose_tasks_have_all_ended_is_reminded_to_finish(shop: Store) -> None:
    _team(shop, "pm.shop")
    task = _task(shop, TaskState.PLANNED)
    with shop.write() as tx:
        tasks.move(tx, task, TaskState.PARKED, by="t", reason="", now=NOW)
    check = _checking(shop)
    check.run_if_due(LATER)
    check.run_if_due(LATER + STALL_S)
    assert _unread(shop, "pm.shop") == ["check_in"]


def test_idle_agent_with_a_message_is_woken_and_then_replaced(tmp_path: Path) -> None:
    woken: list[str] = []
    store = open_store(tmp_path / "woken.db", notify=woken.extend)
    add_project(store, "shop")
    _team(store, "engineer-1.shop")
    with store.write() as tx:
        rows.add_agent(tx, name="timer", kind="timer", role=None, project=None, now=NOW)
        put(tx, "engineer-1.shop")
    woken.clear()
    check = _checking(store)
    check.run_if_due(LATER)
    assert woken == []
    check.run_if_due(LATER + STALL_S)
    assert woken == ["engineer-1.shop"]
    assert deadlines.overdue_agents(store, LATER + STALL_S) == []
    check.run_if_due(LATER + 2 * STALL_S)
    assert [row.name for row in deadlines.overdue_agents(store, LATER + 2 * STALL_S)] == ["engineer-1.shop"]
    store.close()


def test_claimed_message_of_an_idle_agent_is_a_stall_and_of_a_busy_one_is_none(shop: Store) -> None:
    _team(shop, "engineer-1.shop")
    with shop.write() as tx:
        message = put(tx, "engineer-1.shop")
        inbox.claim(tx, message, generation=0, now=NOW)
    assert _kinds(shop) == ["message_not_taken"]
    with shop.write() as tx:
        rows.change_agent(tx, "engineer-1.shop", activity=Activity.MODEL, deadline_at=LATER + 1)
    assert _kinds(shop) == []


@pytest.mark.parametrize("activity", [Activity.PAUSED, Activity.WAITING, Activity.NO_SPACE])
def test_agent_that_waits_for_a_reason_is_no_stall(shop: Store, activity: Activity) -> None:
    _team(shop, "engineer-1.shop", activity=activity)
    with shop.write() as tx:
        put(tx, "engineer-1.shop")
    assert _kinds(shop) == []


def test_a_message_to_a_wanted_agent_without_a_process_notifies_the_supervisor(shop: Store) -> None:
    _team(shop, "engineer-1.shop")
    with shop.write() as tx:
        rows.change_agent(tx, "engineer-1.shop", state=AgentState.STOPPED)
        put(tx, "engineer-1.shop")
    check = _checking(shop)
    check.run_if_due(LATER)
    check.run_if_due(LATER + STALL_S)
    assert _unread(shop, "supervisor") == ["project_changed"]


def test_a_paused_project_is_not_checked_for_stalls(shop: Store) -> None:
    _team(shop, "pm.shop", "engineer-1.shop")
    _task(shop, TaskState.PLANNED)
    with shop.write() as tx:
        put(tx, "engineer-1.shop")
        rows.set_project_state(tx, "shop", ProjectState.PAUSED)
    assert _kinds(shop) == []


def test_checks_continue_after_the_clock_was_set_back(shop: Store) -> None:
    _team(shop, "engineer-1.shop")
    check = _checking(shop)
    check.run_if_due(LATER)
    earlier = LATER - 86_400
    assert check.run_if_due(earlier) == earlier + STALL_S


def test_stalled_task_may_go_to_a_new_engineer(shop: Store) -> None:
    _team(shop, "pm.shop")
    task = _task(shop, TaskState.PLANNED)
    check = _checking(shop)
    check.run_if_due(LATER)
    check.run_if_due(LATER + STALL_S)
    assert tasks.get(shop, task).assignee == team.member("shop", Role.ENGINEER, 1)
