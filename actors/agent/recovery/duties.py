"""What each role has to do before its turn may end, and what code does if the model does not do it.

| role            | has to                                                               | otherwise code          |
|-----------------|----------------------------------------------------------------------|-------------------------|
| project_manager | plan a task per deliverable; call `finish_project` when all ended    | plans, or finishes      |
| qa              | give a verdict on the candidate that it was asked to test            | lets the checks decide  |
| with a task     | call `submit_task`, or send the manager a message                    | climbs the ladder       |
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.runtime.context import Effects, Runtime
from actors.runtime.messages import ReviewRequested, review_request
from actors.tools.verdicts import post_verdict
from actors.work import assignment, deliverables, lifecycle
from store import crew, incidents, tasks, timers
from store.engine import Transaction
from store.entries import Entry, MessageBody, ToolResultBody
from store.rows import Message, Project, Task
from store.states import IncidentKind, ProjectState, Role, TaskState

NUDGES = 3
REASON = "unfinished"
ANSWER_PATIENCE_S = 900.0


def unfinished(
    runtime: Runtime, role: Role, project: str | None, task: int | None, turn: Message, tail: Sequence[Entry]
) -> str | None:
    """The reminder for the model; None if its turn may end."""
    if role is Role.PROJECT_MANAGER and project is not None:
        return _managers_duty(runtime, project)
    request = review_request(turn)
    if role is Role.QA and request is not None:
        return _testers_duty(runtime, request)
    if task is not None and not asked_for_help(tail):
        state = tasks.get(runtime.store, task).state
        if state == TaskState.IN_PROGRESS:
            return (
                f"Task {task} is not submitted yet. Continue with it: if the checks pass, call submit_task; "
                "if you cannot continue, send your manager one message that says what you need."
            )
    return None


def _managers_duty(runtime: Runtime, name: str) -> str | None:
    project = crew.project(runtime.store, name)
    if project.state is not ProjectState.ACTIVE:
        return None
    rows = tasks.of_project(runtime.store, name)
    missing = deliverables.uncovered(project, rows)
    if missing:
        listed = "\n".join(f"{n}. {project.spec.deliverables[n - 1]}" for n in missing)
        return f"No task covers these deliverables yet. Call assign_task for each:\n{listed}"
    if all(row.state in tasks.ENDED for row in rows):
        return "Every task has ended. Call finish_project with a summary."
    return None


def _testers_duty(runtime: Runtime, request: ReviewRequested) -> str | None:
    task = tasks.get(runtime.store, request.task)
    if _waits_for(task, request):
        return f"You have given no verdict yet. Call report_verdict for task {task.id} now."
    return None


def asked_for_help(tail: Sequence[Entry]) -> bool:
    """Whether the last tool call sent a message, so that the agent may wait for an answer."""
    for entry in reversed(tail):
        if isinstance(entry.body, ToolResultBody):
            return entry.body.tool == "send_message" and entry.body.ok
        if isinstance(entry.body, MessageBody):
            return False
    return False


def waiting_effects(runtime: Runtime, task: int) -> Effects:
    """Set a timer that wakes the agent if no answer comes, to decide by itself."""

    def effects(tx: Transaction) -> None:
        now = runtime.clock()
        timers.add(
            tx,
            recipient=runtime.name,
            note=f"No answer came for task {task}. Choose the simpler way yourself and continue.",
            due_at=now + ANSWER_PATIENCE_S,
            created_by="crew",
            now=now,
            key=f"answer:{runtime.name}:{task}:{int(now)}",
        )

    return effects


def stop_waiting(tx: Transaction, runtime: Runtime, task: int) -> None:
    """Cancel that timer: an answer came, or the task ended."""
    for timer in timers.listed(runtime.store):
        if (timer.key or "").startswith(f"answer:{runtime.name}:{task}:"):
            timers.cancel(tx, timer.id)


def give_up(runtime: Runtime, role: Role, project: str | None, turn: Message) -> Effects:
    """The effects that replace what a manager or a tester did not do. They commit with the end of the turn."""

    request = review_request(turn)

    def effects(tx: Transaction) -> None:
        now = runtime.clock()
        incidents.record(
            tx, IncidentKind.DUTY_DONE_BY_CODE, now=now, agent=runtime.name, project=project, role=role.value
        )
        if role is Role.PROJECT_MANAGER and project is not None:
            _manage(tx, runtime.name, crew.project(tx, project), now=now)
        elif role is Role.QA and request is not None:
            task = tasks.current(tx, request.task)
            if _waits_for(task, request):
                findings = "The tester gave no verdict; the checks alone decided."
                post_verdict(tx, runtime.name, task, turn.id, passed=True, findings=findings, now=now)

    return effects


def _waits_for(task: Task, request: ReviewRequested) -> bool:
    return task.state is TaskState.CHECKING and task.candidate_commit == request.candidate


def _manage(tx: Transaction, by: str, project: Project, *, now: float) -> None:
    rows = tasks.of_project(tx, project.name)
    for number in deliverables.uncovered(project, rows):
        text = project.spec.deliverables[number - 1]
        title = text.splitlines()[0][:80]
        assignment.plan(tx, project, title=title, description=text, role=Role.ENGINEER, by=by, now=now)
    rows = tasks.of_project(tx, project.name)
    if all(row.state in tasks.ENDED for row in rows):
        merged = sum(row.state == TaskState.MERGED for row in rows)
        summary = f"{merged} of {len(rows)} tasks were merged. (Finished by code instead of the manager.)"
        lifecycle.finish(tx, project.name, summary=summary, by="crew", now=now)
