"""Who gets which task."""

from __future__ import annotations

from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN, ORCHESTRATOR, SUPERVISOR
from actors.runtime.messages import AgentQuarantined, TaskAssigned
from actors.work import team
from actors.work.deliverables import best_match
from store import crew, incidents, tasks
from store.engine import Transaction
from store.rows import Agent, Project, Task
from store.states import IncidentKind, ProjectState, Role, TaskState

OPEN = frozenset(TaskState) - tasks.ENDED


def plan(
    tx: Transaction, project: Project, *, title: str, description: str, role: Role, by: str, now: float
) -> int:
    """Add a task for a deliverable and assign it if an agent is free; returns its id.

    If the project has a task with this title that is not parked, its id is returned and nothing is added: a
    manager may repeat a call after a crash.
    """
    rows = tasks.of_project(tx, project.name)
    for row in rows:
        if row.title.strip().lower() == title.strip().lower() and row.state is not TaskState.PARKED:
            return row.id
    taken = {row.deliverable for row in rows if row.deliverable and row.state is not TaskState.PARKED}
    task_id = tasks.add(
        tx,
        project=project.name,
        title=title,
        description=description,
        role=role,
        deliverable=best_match(f"{title} {description}", project.spec.deliverables, taken),
        by=by,
        now=now,
    )
    assign_waiting(tx, project, now=now)
    return task_id


def assign_waiting(tx: Transaction, project: Project, *, now: float) -> None:
    """Assign each planned task to a free agent of its role, hiring within the project's limit."""
    if project.state is not ProjectState.ACTIVE:
        return
    for task in tasks.of_project(tx, project.name):
        if task.state is not TaskState.PLANNED:
            continue
        agent = team.free_agent(tx, project, task.role, now=now, avoid=task.assignee)
        if agent is None:
            continue
        tasks.move(tx, task.id, TaskState.ASSIGNED, by=SUPERVISOR, reason="assigned", now=now, assignee=agent)
        crew.change_agent(tx, agent, task=task.id)
        mailbox.post(tx, team.manager(project.name), agent, TaskAssigned(task=task.id), now=now)


def replan(tx: Transaction, task: Task, *, reason: str, by: str, now: float) -> None:
    """Take a task from its assignee and assign it to another agent, as soon as one is free."""
    release(tx, task)
    tasks.move(tx, task.id, TaskState.PLANNED, by=by, reason=reason, now=now)
    assign_waiting(tx, crew.project(tx, task.project), now=now)


def release(tx: Transaction, task: Task) -> None:
    """Make the assignee free for another task."""
    if task.assignee is not None:
        agent = crew.find_agent(tx, task.assignee)
        if agent is not None and agent.task == task.id:
            crew.change_agent(tx, task.assignee, task=None)


def on_quarantine(tx: Transaction, name: str, reason: str, *, now: float) -> None:
    """Report a quarantined agent to its manager and the human. Its task goes to another agent, if there is one."""
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
    for recipient in (_superior(agent), HUMAN):
        if recipient is not None and recipient != name:
            mailbox.post(tx, SUPERVISOR, recipient, AgentQuarantined(agent=name, reason=reason), now=now)
    if agent.task is not None:
        task = tasks.current(tx, agent.task)
        if task.state in (TaskState.ASSIGNED, TaskState.IN_PROGRESS):
            replan(tx, task, reason=f"{name} is quarantined: {reason}", by=SUPERVISOR, now=now)


def _superior(agent: Agent) -> str | None:
    """Who manages the agent; None for the orchestrator and for actors outside of projects."""
    if agent.role is Role.PROJECT_MANAGER:
        return ORCHESTRATOR
    return None if agent.project is None else team.manager(agent.project)
