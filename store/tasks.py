"""Tasks and the only ways in which their state may change."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, insert, select, update

from store.engine import Store, Transaction
from store.errors import IllegalTransition, NotFound
from store.prepared import Prepared
from store.schema import gate_runs, task_events, tasks
from store.states import TaskState

# One row per state: what it may become. MERGED is final: what was merged is taken back by a new task.
TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.PLANNED: frozenset({TaskState.ASSIGNED, TaskState.PARKED}),
    TaskState.ASSIGNED: frozenset({TaskState.IN_PROGRESS, TaskState.PLANNED, TaskState.PARKED}),
    TaskState.IN_PROGRESS: frozenset({TaskState.SUBMITTED, TaskState.PLANNED, TaskState.PARKED}),
    TaskState.SUBMITTED: frozenset({TaskState.CHECKING, TaskState.IN_PROGRESS, TaskState.PARKED}),
    TaskState.CHECKING: frozenset(
        {TaskState.MERGED, TaskState.IN_PROGRESS, TaskState.SUBMITTED, TaskState.PARKED}
    ),
    TaskState.PARKED: frozenset({TaskState.PLANNED, TaskState.IN_PROGRESS}),
    TaskState.MERGED: frozenset(),
}
_TASK = Prepared(select(tasks).where(tasks.c.id == bindparam("task_id")))
ENDED = frozenset({TaskState.MERGED, TaskState.PARKED})


def add(
    tx: Transaction,
    *,
    project: str,
    title: str,
    description: str,
    role: str,
    deliverable: int | None,
    by: str,
    now: float,
) -> int:
    """Plan a task; returns its id. The branch is named after both: `nightcrew/<project>/t<id>`."""
    task_id = tx.add(
        insert(tasks),
        {
            "project": project,
            "title": title,
            "description": description,
            "role": role,
            "deliverable": deliverable,
            "state": TaskState.PLANNED.value,
            "branch": "",
            "attempts": 0,
            "usage": {},
            "created_at": now,
            "updated_at": now,
        },
    )
    tx.execute(update(tasks).where(tasks.c.id == task_id).values(branch=f"nightcrew/{project}/t{task_id}"))
    _note(tx, task_id, "", TaskState.PLANNED, by, "planned", now)
    return task_id


def move(
    tx: Transaction, task_id: int, target: TaskState, *, by: str, reason: str, now: float, **values: Any
) -> None:
    """Change a task's state, and columns with it. Raises `IllegalTransition` or `NotFound`."""
    row = tx.execute(select(tasks.c.state).where(tasks.c.id == task_id)).first()
    if row is None:
        raise NotFound(f"there is no task {task_id}")
    source = TaskState(row[0])
    if target not in TRANSITIONS[source]:
        raise IllegalTransition(f"task {task_id} is {source}; it cannot become {target}")
    values["finished_at"] = now if target in ENDED else None
    tx.execute(
        update(tasks).where(tasks.c.id == task_id).values(state=target.value, updated_at=now, **values)
    )
    _note(tx, task_id, source.value, target, by, reason, now)


def amend(tx: Transaction, task_id: int, *, now: float, **values: Any) -> None:
    """Change columns of a task without changing its state."""
    tx.execute(update(tasks).where(tasks.c.id == task_id).values(updated_at=now, **values))


def _note(
    tx: Transaction, task_id: int, source: str, target: TaskState, by: str, reason: str, now: float
) -> None:
    tx.execute(
        insert(task_events),
        {
            "task": task_id,
            "source": source,
            "target": target.value,
            "by": by,
            "reason": reason,
            "created_at": now,
        },
    )


def current(tx: Transaction, task_id: int) -> dict[str, Any]:
    """The task as this transaction sees it. Raises `NotFound`."""
    return _one(tx, task_id)


def get(store: Store, task_id: int) -> dict[str, Any]:
    """One task. Raises `NotFound`."""
    return _one(store, task_id)


def _one(source: Store | Transaction, task_id: int) -> dict[str, Any]:
    row = source.row(_TASK, {"task_id": task_id})
    if row is None:
        raise NotFound(f"there is no task {task_id}")
    return row


def of_project(source: Store | Transaction, project: str) -> list[dict[str, Any]]:
    """A project's tasks, oldest first."""
    query = select(tasks).where(tasks.c.project == project).order_by(tasks.c.id)
    return source.rows(query)


def listed(store: Store, *, project: str | None = None) -> list[dict[str, Any]]:
    """All tasks, or one project's, oldest first."""
    query = select(tasks).order_by(tasks.c.id)
    if project is not None:
        query = query.where(tasks.c.project == project)
    return store.rows(query)


def events(store: Store, task_id: int) -> list[dict[str, Any]]:
    """What happened to a task, in order."""
    return store.rows(select(task_events).where(task_events.c.task == task_id).order_by(task_events.c.id))


def record_gate_run(
    tx: Transaction,
    *,
    task: int,
    commit: str,
    candidate: str | None,
    verdict: str,
    report: dict[str, Any],
    started_at: float,
    ended_at: float,
) -> int:
    """Keep the gate's evidence; returns the run's id."""
    return tx.add(
        insert(gate_runs),
        {
            "task": task,
            "commit": commit,
            "candidate": candidate,
            "verdict": verdict,
            "report": report,
            "started_at": started_at,
            "ended_at": ended_at,
        },
    )


def gate_runs_of(store: Store, task_id: int) -> list[dict[str, Any]]:
    """The gate's runs for a task, oldest first."""
    return store.rows(select(gate_runs).where(gate_runs.c.task == task_id).order_by(gate_runs.c.id))
