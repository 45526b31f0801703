"""The rules of work: who gets which task, what an ended task sets in motion, when a project is done.

Database effects only: every function takes the transaction of the step that causes it, so a task
never changes hands without the message that says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN, ORCHESTRATOR, SUPERVISOR
from actors.runtime.messages import (
    AgentQuarantined,
    ProjectChanged,
    TaskAssigned,
    TaskMerged,
    TaskParked,
    TaskReturned,
)
from store import crew, inbox, incidents, tasks
from store.engine import Store, Transaction
from store.rows import Agent, Project, Task
from store.states import ActorKind, AgentState, IncidentKind, ProjectState, Role, TaskState

OPEN = frozenset(TaskState) - tasks.ENDED
JUST_NOW_S = 4.0  # the clock is looked at each second, and a change under 5 s is none


def member(project: str, role: Role, number: int | None = None) -> str:
    """An agent's name: `pm.shop`, `engineer-2.shop`, `qa.shop`, `gate.shop`."""
    short = "pm" if role is Role.PROJECT_MANAGER else role.value
    return f"{short}{'' if number is None else f'-{number}'}.{project}"


def manager(project: str) -> str:
    return member(project, Role.PROJECT_MANAGER)


def gate(project: str) -> str:
    return f"gate.{project}"


def deliverable_for(text: str, deliverables: Sequence[str], taken: set[int]) -> int | None:
    """Which deliverable (from 1) a task's words are about: the one that shares most of its words with them.

    Of equals a free one wins. Words that fit none go to the first free one, for a manager may write in
    another language than the spec; None if there is no free one.
    """
    words = _words(text)
    scores = {
        number: len(words & _words(deliverable)) / (len(_words(deliverable)) or 1)
        for number, deliverable in enumerate(deliverables, 1)
    }
    best = max(scores, key=lambda number: (scores[number], number not in taken, -number), default=None)
    if best is not None and scores[best] > 0:
        return best
    return next((number for number in scores if number not in taken), None)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{3,}", text.lower()))


def uncovered(project: Project, rows: Sequence[Task]) -> list[int]:
    """Deliverables (from 1) that no task is about."""
    covered = {row.deliverable for row in rows}
    return [n for n in range(1, len(project.spec.deliverables) + 1) if n not in covered]


def plan(
    tx: Transaction, project: Project, *, title: str, description: str, role: Role, by: str, now: float
) -> int:
    """Add a task for a deliverable and hand it to whoever is free; returns its id.

    The same title again, while its task is open or merged, is the same task: a manager that repeats
    itself after a crash or a lapse plans nothing twice.
    """
    rows = tasks.of_project(tx, project.name)
    for row in rows:
        if row.title.strip().lower() == title.strip().lower() and row.state != TaskState.PARKED:
            return int(row.id)
    taken = {row.deliverable for row in rows if row.deliverable and row.state != TaskState.PARKED}
    number = deliverable_for(f"{title} {description}", project.spec.deliverables, taken)
    task_id = tasks.add(
        tx,
        project=project.name,
        title=title,
        description=description,
        role=role,
        deliverable=number,
        by=by,
        now=now,
    )
    assign_waiting(tx, project, now=now)
    return task_id


def assign_waiting(tx: Transaction, project: Project, *, now: float) -> None:
    """Give each planned task to a free agent of its role, hiring within the project's limit."""
    if project.state != ProjectState.ACTIVE:
        return
    for task in tasks.of_project(tx, project.name):
        if task.state != TaskState.PLANNED:
            continue
        agent = _free_agent(tx, project, Role(task.role), now=now, avoid=task.assignee)
        if agent is None:
            continue
        tasks.move(tx, task.id, TaskState.ASSIGNED, by=SUPERVISOR, reason="assigned", now=now, assignee=agent)
        crew.change_agent(tx, agent, task=task.id)
        mailbox.post(tx, manager(project.name), agent, TaskAssigned(task=task.id), now=now)


def _free_agent(
    tx: Transaction, project: Project, role: Role, *, now: float, avoid: str | None
) -> str | None:
    """A free agent of that role, another than `avoid` if there is one; hires while the limit allows."""
    team = [row for row in crew.all_agents(tx, project=project.name) if row.role == role.value]
    free = [
        row.name
        for row in team
        if row.wanted and not row.paused and row.task is None and row.state != AgentState.QUARANTINED
    ]
    others = [name for name in free if name != avoid]
    if others:
        return str(others[0])
    if len(team) < project.engineers:
        taken = {row.name for row in team}
        numbers = (n for n in range(1, len(team) + 2) if member(project.name, role, n) not in taken)
        name = member(project.name, role, next(numbers))
        crew.add_agent(tx, name=name, kind=ActorKind.AGENT, role=role, project=project.name, now=now)
        notify_supervisor(tx, project.name, now=now)
        return name
    return str(free[0]) if free else None


def notify_supervisor(tx: Transaction, project: str | None, *, now: float) -> None:
    """Have the supervisor read again which agents should run."""
    mailbox.post(tx, HUMAN, SUPERVISOR, ProjectChanged(project=project), now=now)


def release(tx: Transaction, task: Task) -> None:
    """The assignee is free for another task."""
    if task.assignee is not None:
        agent = crew.find_agent(tx, task.assignee)
        if agent is not None and agent.task == task.id:
            crew.change_agent(tx, task.assignee, task=None)


def merged(
    tx: Transaction,
    task: Task,
    *,
    commit: str,
    tag: str | None,
    verified: bool,
    by: str,
    now: float,
) -> None:
    """The gate has moved the integration branch: say so to everyone it matters to, and go on."""
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
    news = TaskMerged(task=task.id, commit=commit)
    for recipient in (task.assignee, manager(task.project)):
        if recipient:
            mailbox.post(tx, by, recipient, news, now=now, key=f"merged:{task.id}:{recipient}")
    _after_end(tx, task, now=now)


def returned(tx: Transaction, task: Task, *, feedback: str, limit: int, by: str, now: float) -> None:
    """Not accepted: back to its assignee with the evidence (to another if it rests), or parked after the last."""
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
    if crew.agent(tx, task.assignee).state == AgentState.QUARANTINED:
        replan(tx, task, reason=f"not accepted, and {task.assignee} is quarantined", by=by, now=now)
        return
    mailbox.post(tx, by, task.assignee, TaskReturned(task=task.id, feedback=feedback), now=now)


def park(tx: Transaction, task: Task, *, reason: str, by: str, now: float) -> None:
    """Give a task up for tonight, with its evidence kept; the night goes on without it."""
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
    news = TaskParked(task=task.id, reason=reason)
    for recipient in (task.assignee, manager(task.project), HUMAN):
        if recipient is not None:
            mailbox.post(tx, by, recipient, news, now=now)
    _after_end(tx, task, now=now)


def _after_end(tx: Transaction, task: Task, *, now: float) -> None:
    release(tx, task)
    assign_waiting(tx, crew.project(tx, task.project), now=now)


def replan(tx: Transaction, task: Task, *, reason: str, by: str, now: float) -> None:
    """Take a task from its assignee and let another have it: the ladder's rung before parking."""
    release(tx, task)
    tasks.move(tx, task.id, TaskState.PLANNED, by=by, reason=reason, now=now)
    assign_waiting(tx, crew.project(tx, task.project), now=now)


def on_quarantine(tx: Transaction, name: str, reason: str, *, now: float) -> None:
    """Tell the agent's manager and the human; its task goes to another, if there is one."""
    agent = crew.agent(tx, name)
    incidents.record(
        tx,
        IncidentKind.AGENT_QUARANTINED,
        now=now,
        agent=name,
        project=agent.project,
        needs_human=True,
        reason=reason,
    )
    superior = ORCHESTRATOR if agent.role == Role.PROJECT_MANAGER else None
    if agent.project is not None and agent.role != Role.PROJECT_MANAGER:
        superior = manager(agent.project)
    for recipient in filter(None, (superior, HUMAN)):
        if recipient != name:
            mailbox.post(tx, SUPERVISOR, recipient, AgentQuarantined(agent=name, reason=reason), now=now)
    if agent.task is not None:
        task = tasks.current(tx, agent.task)
        if task.state in (TaskState.ASSIGNED, TaskState.IN_PROGRESS):
            replan(tx, task, reason=f"{name} is quarantined: {reason}", by=SUPERVISOR, now=now)


def past_deadline(store: Store, now: float) -> list[Agent]:
    """Agents that should have made progress by now."""
    return [
        row
        for row in crew.all_agents(store)
        if row.deadline_at is not None and row.deadline_at < now and row.state == AgentState.RUNNING
    ]


def stretch_deadlines(tx: Transaction, drift_s: float, *, slept_s: float, now: float) -> None:
    """The wall clock has moved by `drift_s` seconds that nobody could work in, `slept_s` of them in sleep.

    Every deadline moves with it, but those that were set by the new time already; after a clock that was set
    back, messages are due that would seem not to be.
    """
    for row in crew.all_agents(tx):
        since = row.activity_since
        is_new = since is not None and now - JUST_NOW_S <= since <= now
        if row.deadline_at is not None and not is_new:
            crew.change_agent(tx, row.name, deadline_at=row.deadline_at + drift_s)
    if drift_s < 0:
        inbox.make_due(tx, now=now)
    if slept_s:
        incidents.record(tx, IncidentKind.MACHINE_SLEPT, now=now, gap_s=round(slept_s, 1))
    if abs(drift_s - slept_s) >= 1:
        incidents.record(tx, IncidentKind.CLOCK_WAS_SET, now=now, by_s=round(drift_s - slept_s, 1))
