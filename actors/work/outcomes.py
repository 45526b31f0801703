"""What a task's outcome sets in motion: merged, sent back, or parked."""

from __future__ import annotations

from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN
from actors.runtime.messages import TaskMerged, TaskParked, TaskReturned
from actors.work import team
from actors.work.assignment import assign_waiting, release, replan
from store import crew, incidents, tasks
from store.engine import Transaction
from store.rows import Task
from store.states import AgentState, IncidentKind, TaskState


def record_merge(
    tx: Transaction,
    task: Task,
    *,
    commit: str,
    tag: str | None,
    verified: bool,
    by: str,
    now: float,
) -> None:
    """The gate has moved the integration branch: end the task and notify its assignee and its manager.

    `verified`: False if the project has no checks.
    """
    tasks.move(
        tx,
        task.id,
        TaskState.MERGED,
        by=by,
        reason="checks passed" if verified else "merged unverified: there are no checks",
        now=now,
        merged_commit=commit,
        tag=tag,
        verified=verified,
    )
    message = TaskMerged(task=task.id, commit=commit)
    for recipient in (task.assignee, team.manager(task.project)):
        if recipient:
            mailbox.post(tx, by, recipient, message, now=now, key=f"merged:{task.id}:{recipient}")
    _after_end(tx, task, now=now)


def return_task(tx: Transaction, task: Task, *, feedback: str, limit: int, by: str, now: float) -> None:
    """Send a task that was not accepted back to its assignee with the reasons.

    It goes to another agent if the assignee is quarantined. At the `limit`-th refusal it is parked.
    """
    assert task.assignee is not None, "only an assigned task is submitted"
    attempts = task.attempts + 1
    if attempts >= limit:
        tasks.amend(tx, task.id, now=now, attempts=attempts, feedback=feedback)
        park(tx, task, reason=f"not accepted {attempts} times", by=by, now=now)
        return
    tasks.move(
        tx,
        task.id,
        TaskState.IN_PROGRESS,
        by=by,
        reason="not accepted",
        now=now,
        attempts=attempts,
        feedback=feedback,
    )
    if crew.agent(tx, task.assignee).state is AgentState.QUARANTINED:
        replan(tx, task, reason=f"not accepted, and {task.assignee} is quarantined", by=by, now=now)
        return
    mailbox.post(tx, by, task.assignee, TaskReturned(task=task.id, feedback=feedback), now=now)


def park(tx: Transaction, task: Task, *, reason: str, by: str, now: float) -> None:
    """Give a task up for this run. Its branch and the evidence are kept, and the project continues without it."""
    tasks.move(tx, task.id, TaskState.PARKED, by=by, reason=reason, now=now)
    incidents.record(
        tx,
        IncidentKind.TASK_PARKED,
        now=now,
        agent=task.assignee,
        project=task.project,
        needs_human=True,
        task=task.id,
        reason=reason,
    )
    message = TaskParked(task=task.id, reason=reason)
    for recipient in (task.assignee, team.manager(task.project), HUMAN):
        if recipient is not None:
            mailbox.post(tx, by, recipient, message, now=now)
    _after_end(tx, task, now=now)


def _after_end(tx: Transaction, task: Task, *, now: float) -> None:
    release(tx, task)
    assign_waiting(tx, crew.project(tx, task.project), now=now)
