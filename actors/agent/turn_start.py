"""How a turn starts, depending on its message: the context, the worktree, and the first effects."""

from __future__ import annotations

from dataclasses import dataclass

from actors.agent.context import briefing
from actors.agent.state import WorkingState
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
from store.rows import Task
from store.states import Role, TaskState


@dataclass(frozen=True, slots=True)
class TurnStart:
    """How to start a turn. The effects commit together with the claim of its message.

    - `fresh`: begin a new context.
    - `informational`: the message is only added to the context, and no turn starts.
    - `text`: what the model reads; None for the message's usual text.
    """

    effects: Effects = nothing
    fresh: bool = False
    informational: bool = False
    task: int | None = None
    text: str | None = None


def prepare_turn(state: WorkingState, message: AnyMessage) -> TurnStart:
    """Prepare the worktree for a message and return how its turn starts. Can be repeated after a kill."""
    match message:
        case TaskAssigned(task=task):
            return _assigned(state, tasks.get(state.runtime.store, task))
        case TaskReturned(task=task):
            return _returned(state, tasks.get(state.runtime.store, task), message)
        case ReviewRequested():
            return TurnStart(fresh=True)
        case TaskMerged(task=task) | TaskParked(task=task) if state.role is not Role.PROJECT_MANAGER:
            _close_ended(state, tasks.get(state.runtime.store, task))
            return TurnStart(informational=True)
        case TaskMerged(task=task):
            return TurnStart(informational=_others_are_open(state, tasks.get(state.runtime.store, task)))
        case _:
            return TurnStart(task=state.task)


def _close_ended(state: WorkingState, task: Task) -> None:
    """Remove the worktree of an ended task, unless the task was taken up again in the meantime."""
    if task.state in tasks.ENDED:
        state.workspace.close_task(task)


def _others_are_open(state: WorkingState, task: Task) -> bool:
    rows = tasks.of_project(state.runtime.store, task.project)
    return any(other.state in assignment.OPEN for other in rows)


def _assigned(state: WorkingState, task: Task) -> TurnStart:
    if task.state != TaskState.ASSIGNED or task.assignee != state.runtime.name:
        return _not_yours(task)
    start = state.workspace.open_task(task)

    def effects(tx: Transaction) -> None:
        now = state.runtime.clock()
        tasks.move(
            tx,
            task.id,
            TaskState.IN_PROGRESS,
            by=state.runtime.name,
            reason="started",
            now=now,
            base_commit=start,
            started_at=task.started_at or now,
        )

    return TurnStart(effects, fresh=True, task=task.id)


def _returned(state: WorkingState, task: Task, message: TaskReturned) -> TurnStart:
    """Continue on top of what was merged meanwhile, so that the engineer meets a conflict now and not the gate."""
    if task.state != TaskState.IN_PROGRESS or task.assignee != state.runtime.name:
        return _not_yours(task)
    state.workspace.open_task(task)
    text = briefing.text_of(state.runtime, message, "")
    branch = crew.project(state.runtime.store, task.project).branch
    synced = sync_worktree(state.workspace.worktree_of(task.id), branch, locks=state.runtime.home.locks)
    if synced.state == "merged":
        text += "\n\nThe others' accepted work was merged into your folder meanwhile."
    elif synced.state == "conflict":
        text += (
            "\n\nThe others' accepted work conflicts with yours. Conflict markers (<<<<<<<, =======, "
            f">>>>>>>) are in: {', '.join(synced.files)}. Make both changes work together, then submit."
        )
    return TurnStart(task=task.id, text=text)


def _not_yours(task: Task) -> TurnStart:
    """The task was taken back, or given to another agent, before the message was read."""
    return TurnStart(informational=True, text=f"Task {task.id} is no longer yours.")
