"""Every change of a task's state, allowed or not, against a table written here anew."""

from __future__ import annotations

import itertools
from typing import Unpack

import pytest

from store import tasks
from store.engine import Store
from store.errors import IllegalTransition, NotFound
from store.states import GateVerdict, Role, TaskState
from tests.support.stores import NOW, add_project

ALLOWED = {
    ("planned", "assigned"),
    ("planned", "parked"),
    ("assigned", "in_progress"),
    ("assigned", "planned"),
    ("assigned", "parked"),
    ("in_progress", "submitted"),
    ("in_progress", "planned"),
    ("in_progress", "parked"),
    ("submitted", "checking"),
    ("submitted", "in_progress"),
    ("submitted", "parked"),
    ("checking", "merged"),
    ("checking", "in_progress"),
    ("checking", "submitted"),
    ("checking", "parked"),
    ("parked", "planned"),
    ("parked", "in_progress"),
}
# A way from PLANNED to each state.
ROUTES = {
    "planned": [],
    "assigned": ["assigned"],
    "in_progress": ["assigned", "in_progress"],
    "submitted": ["assigned", "in_progress", "submitted"],
    "checking": ["assigned", "in_progress", "submitted", "checking"],
    "merged": ["assigned", "in_progress", "submitted", "checking", "merged"],
    "parked": ["parked"],
}


def _task(store: Store) -> int:
    if not tasks.listed(store):
        add_project(store, "shop")
    with store.write() as tx:
        return tasks.add(
            tx,
            project="shop",
            title="t",
            description="d",
            role=Role.ENGINEER,
            deliverable=1,
            by="pm",
            now=NOW,
        )


def _move(store: Store, task: int, target: str, **values: Unpack[tasks.Change]) -> None:
    with store.write() as tx:
        tasks.move(tx, task, TaskState(target), by="pm", reason="because", now=NOW + 1, **values)


def test_the_table_has_a_row_for_every_state() -> None:
    assert tasks.TRANSITIONS.keys() == set(TaskState)
    assert {state for state in TaskState if not tasks.TRANSITIONS[state]} == {TaskState.MERGED}


@pytest.mark.parametrize(("source", "target"), list(itertools.product(TaskState, TaskState)))
def test_a_task_changes_its_state_only_as_the_table_says(
    store: Store, source: TaskState, target: TaskState
) -> None:
    task = _task(store)
    for step in ROUTES[source]:
        _move(store, task, step)
    events = len(tasks.events(store, task))
    if (source.value, target.value) in ALLOWED:
        _move(store, task, target.value)
        assert tasks.get(store, task).state == target
        assert len(tasks.events(store, task)) == events + 1
    else:
        with pytest.raises(IllegalTransition, match=f"task {task} is {source}; it cannot become {target}"):
            _move(store, task, target.value)
        assert tasks.get(store, task).state == source
        assert len(tasks.events(store, task)) == events


def test_every_change_is_noted_with_who_and_why(store: Store) -> None:
    task = _task(store)
    _move(store, task, "assigned", assignee="engineer-1.shop")
    _move(store, task, "parked")
    notes = [(e.source, e.target, e.by, e.reason) for e in tasks.events(store, task)]
    assert notes == [
        (None, "planned", "pm", "planned"),
        ("planned", "assigned", "pm", "because"),
        ("assigned", "parked", "pm", "because"),
    ]


def test_columns_change_together_with_the_state_or_not_at_all(store: Store) -> None:
    task = _task(store)
    _move(store, task, "assigned", assignee="engineer-1.shop")
    assert tasks.get(store, task).assignee == "engineer-1.shop"
    with pytest.raises(IllegalTransition):
        _move(store, task, "merged", merged_commit="abc")
    assert tasks.get(store, task).merged_commit is None


@pytest.mark.parametrize("end", ["merged", "parked"])
def test_an_ended_task_has_its_end_and_an_open_one_has_none(store: Store, end: str) -> None:
    task = _task(store)
    assert tasks.get(store, task).finished_at is None
    for step in ROUTES[end]:
        _move(store, task, step)
    assert tasks.get(store, task).finished_at == NOW + 1


def test_a_parked_task_that_is_taken_up_again_is_no_longer_finished(store: Store) -> None:
    task = _task(store)
    _move(store, task, "parked")
    _move(store, task, "planned")
    assert tasks.get(store, task).finished_at is None


def test_each_task_has_a_branch_of_its_own_that_is_no_prefix_of_another(store: Store) -> None:
    branches = [tasks.get(store, _task(store)).branch for _ in range(12)]
    assert len(set(branches)) == 12
    assert branches[0] == "nightcrew/shop/t1"
    assert not any(a != b and b.startswith(f"{a}/") for a in branches for b in branches)


def test_a_task_that_there_is_not_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="no task 99"):
        tasks.get(store, 99)
    with pytest.raises(NotFound, match="no task 99"):
        _move(store, 99, "assigned")


def test_a_projects_tasks_are_its_own_oldest_first(store: Store) -> None:
    ids = [_task(store) for _ in range(3)]
    add_project(store, "other")
    with store.write() as tx:
        tasks.add(
            tx, project="other", title="", description="", role=Role.QA, deliverable=None, by="", now=NOW
        )
        assert [row.id for row in tasks.of_project(tx, "shop")] == ids
    assert [row.id for row in tasks.of_project(store, "shop")] == ids
    assert len(tasks.listed(store)) == 4


def test_the_gates_runs_are_kept_in_order_with_their_evidence(store: Store) -> None:
    task = _task(store)
    for verdict in (GateVerdict.FAILED, GateVerdict.PASSED):
        with store.write() as tx:
            tasks.record_gate_run(
                tx,
                task=task,
                commit="c",
                candidate=None,
                verdict=verdict,
                report={"tests": 3},
                started_at=NOW,
                ended_at=NOW + 1,
            )
    runs = tasks.gate_runs_of(store, task)
    assert [(run.verdict, run.report) for run in runs] == [
        ("failed", {"tests": 3}),
        ("passed", {"tests": 3}),
    ]
