"""How a turn begins, by what the message is: its context, its workspace, its first effects."""

from __future__ import annotations

from dataclasses import dataclass

from actors.agent import briefing
from actors.agent.state import Desk
from actors.git.merge import sync_worktree
from actors.runtime.context import Effects, nothing
from actors.runtime.messages import (
    AnyMessage,
    ReviewRequested,
    TaskAssigned,
    TaskMerged,
    TaskParked,
    TaskReturned,
)
from actors.work import assignment
from store import crew, tasks
from store.engine import Transaction
from store.states import Role, TaskState


@dataclass(frozen=True, slots=True)
class Opening:
    """`fresh`: begin a new context; `informational`: no turn, only something to know."""

    effects: Effects = nothing
    fresh: bool = False
    informational: bool = False
    task: int | None = None
    text: str | None = None


def opening(desk: Desk, message: AnyMessage) -> Opening:
    """Prepare the world for the message (repeatable after a kill) and say how its turn begins."""
    desk.view_is_open = False
    match message:
        case TaskAssigned(task=task):
            return _assigned(desk, task)
        case TaskReturned(task=task):
            return _returned(desk, message, task)
        case ReviewRequested():
            return Opening(fresh=True)
        case TaskMerged(task=task) | TaskParked(task=task) if desk.role is not Role.PROJECT_MANAGER:
            _put_away(desk, task)
            return Opening(informational=True)
        case TaskMerged(task=task):
            return Opening(informational=_others_open(desk, task))
        case _:
            return Opening(task=desk.task)


def _put_away(desk: Desk, task: int) -> None:
    """The worktree of an ended task goes; of one that somebody took up again meanwhile it stays."""
    row = tasks.get(desk.runtime.store, task)
    if row.state in tasks.ENDED:
        desk.bench.close_task(crew.project(desk.runtime.store, row.project), row)


def _others_open(desk: Desk, task: int) -> bool:
    row = tasks.get(desk.runtime.store, task)
    rows = tasks.of_project(desk.runtime.store, row.project)
    return any(other.state in assignment.OPEN for other in rows)


def _assigned(desk: Desk, task: int) -> Opening:
    row = tasks.get(desk.runtime.store, task)
    if row.state != TaskState.ASSIGNED or row.assignee != desk.runtime.name:
        # It was taken back or given to somebody else meanwhile.
        return Opening(informational=True, text=f"Task {task} is not yours any more.")
    start = desk.bench.open_task(crew.project(desk.runtime.store, row.project), row)

    def effects(tx: Transaction) -> None:
        now = desk.runtime.clock()
        tasks.move(
            tx,
            task,
            TaskState.IN_PROGRESS,
            by=desk.runtime.name,
            reason="started",
            now=now,
            base_commit=start,
            started_at=row.started_at or now,
        )

    return Opening(effects, fresh=True, task=task)


def _returned(desk: Desk, message: TaskReturned, task: int) -> Opening:
    """Work goes on from the newest accepted state, so that a conflict is met now and not at the merge."""
    row = tasks.get(desk.runtime.store, task)
    if row.state != TaskState.IN_PROGRESS or row.assignee != desk.runtime.name:
        return Opening(informational=True, text=f"Task {task} is not yours any more.")
    project = crew.project(desk.runtime.store, row.project)
    desk.bench.open_task(project, row)
    text = briefing.text_of(desk.runtime, message, "")
    if desk.bench.worktree is not None:
        synced = sync_worktree(desk.bench.worktree, project.branch, locks=desk.runtime.home.locks)
        if synced.state == "merged":
            text += "\n\nThe others' accepted work was merged into your folder meanwhile."
        elif synced.state == "conflict":
            text += (
                "\n\nThe others' accepted work conflicts with yours. Conflict markers (<<<<<<<, =======, "
                f">>>>>>>) are in: {', '.join(synced.files)}. Make both changes work together, then submit."
            )
    return Opening(task=task, text=text)
