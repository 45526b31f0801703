"""Tasks, the table of their states, and the evidence of the gate."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from sqlalchemy import bindparam, insert, select, update

from store.engine import Source, Store, Transaction
from store.engine.prepared import Query
from store.errors import IllegalTransition, NotFound
from store.rows import GateRun, Task, TaskEvent, Usage
from store.schema import gate_runs, task_events, tasks
from store.shared import ref_names
from store.states import GateVerdict, Role, TaskState

# One row per state: what it may become. MERGED is final; a merged change is undone by a new task.
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
_TASK = Query(select(tasks).where(tasks.c.id == bindparam("task_id")), Task)
_OF_PROJECT = Query(
    select(tasks).where(tasks.c.project == bindparam("project_name")).order_by(tasks.c.id), Task
)
_ALL = Query(select(tasks).order_by(tasks.c.id), Task)
_EVENTS = Query(
    select(task_events).where(task_events.c.task == bindparam("task_id")).order_by(task_events.c.id),
    TaskEvent,
)
_GATE_RUNS = Query(
    select(gate_runs).where(gate_runs.c.task == bindparam("task_id")).order_by(gate_runs.c.id), GateRun
)
ENDED = frozenset({TaskState.MERGED, TaskState.PARKED})


class Change(TypedDict, total=False):
    """Columns of a task that may change."""

    assignee: str | None
    base_commit: str | None
    submitted_commit: str | None
    candidate_commit: str | None
    merged_commit: str | None
    tag: str | None
    attempts: int
    summary: str | None
    feedback: str | None
    verified: bool | None
    usage: Usage
    started_at: float | None


def add(
    tx: Transaction,
    *,
    project: str,
    title: str,
    description: str,
    role: Role,
    deliverable: int | None,
    by: str,
    now: float,
) -> int:
    """Plan a task; returns its id. The branch is named after both."""
    task_id = tx.add(
        insert(tasks),
        {
            "project": project,
            "title": title,
            "description": description,
            "role": role,
            "deliverable": deliverable,
            "state": TaskState.PLANNED,
            "branch": "",
            "attempts": 0,
            "usage": Usage(),
            "created_at": now,
            "updated_at": now,
        },
    )
    tx.execute(
        update(tasks).where(tasks.c.id == task_id).values(branch=ref_names.task_branch(project, task_id))
    )
    _note(tx, task_id, None, TaskState.PLANNED, by, "planned", now)
    return task_id


def move(
    tx: Transaction,
    task_id: int,
    target: TaskState,
    *,
    by: str,
    reason: str,
    now: float,
    **values: Unpack[Change],
) -> None:
    """Change a task's state, and columns with it. Raises `IllegalTransition` or `NotFound`."""
    row = tx.execute(select(tasks.c.state).where(tasks.c.id == task_id)).first()
    if row is None:
        raise NotFound(f"there is no task {task_id}")
    source: TaskState = row[0]
    if target not in TRANSITIONS[source]:
        raise IllegalTransition(f"task {task_id} is {source}; it cannot become {target}")
    finished_at = now if target in ENDED else None
    tx.execute(
        update(tasks)
        .where(tasks.c.id == task_id)
        .values(state=target, updated_at=now, finished_at=finished_at, **values)
    )
    _note(tx, task_id, source, target, by, reason, now)


def amend(tx: Transaction, task_id: int, *, now: float, **values: Unpack[Change]) -> None:
    """Change columns of a task without changing its state."""
    tx.execute(update(tasks).where(tasks.c.id == task_id).values(updated_at=now, **values))


def _note(
    tx: Transaction,
    task_id: int,
    source: TaskState | None,
    target: TaskState,
    by: str,
    reason: str,
    now: float,
) -> None:
    tx.execute(
        insert(task_events),
        {
            "task": task_id,
            "source": source,
            "target": target,
            "by": by,
            "reason": reason,
            "created_at": now,
        },
    )


def current(tx: Transaction, task_id: int) -> Task:
    """The task as this transaction sees it. Raises `NotFound`."""
    return _one(tx, task_id)


def get(store: Store, task_id: int) -> Task:
    """One task. Raises `NotFound`."""
    return _one(store, task_id)


def _one(source: Source, task_id: int) -> Task:
    row = source.first(_TASK, {"task_id": task_id})
    if row is None:
        raise NotFound(f"there is no task {task_id}")
    return row


def of_project(source: Source, project: str) -> list[Task]:
    """A project's tasks, oldest first."""
    return source.fetch(_OF_PROJECT, {"project_name": project})


def listed(store: Store, *, project: str | None = None) -> list[Task]:
    """All tasks, or one project's, oldest first."""
    return store.fetch(_ALL) if project is None else of_project(store, project)


def events(store: Store, task_id: int) -> list[TaskEvent]:
    """The changes of a task's state, oldest first."""
    return store.fetch(_EVENTS, {"task_id": task_id})


def record_gate_run(
    tx: Transaction,
    *,
    task: int,
    commit: str,
    candidate: str | None,
    verdict: GateVerdict,
    report: dict[str, Any],
    started_at: float,
    ended_at: float,
) -> int:
    """Record one evaluation of a submission by the gate; returns its id."""
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


def gate_runs_of(store: Store, task_id: int) -> list[GateRun]:
    """The gate's runs for a task, oldest first."""
    return store.fetch(_GATE_RUNS, {"task_id": task_id})
