"""The members of a project's team: their names, who is free, and hiring."""

from __future__ import annotations

from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN, SUPERVISOR
from actors.runtime.messages import ProjectChanged
from store import crew
from store.engine import Transaction
from store.rows import Agent, Project
from store.states import ActorKind, AgentState, Role


def member(project: str, role: Role, number: int | None = None) -> str:
    """The name of an agent: `pm.shop`, `engineer-2.shop`, `qa.shop`."""
    short = "pm" if role is Role.PROJECT_MANAGER else role.value
    return f"{short}{'' if number is None else f'-{number}'}.{project}"


def manager(project: str) -> str:
    """The name of a project's manager."""
    return member(project, Role.PROJECT_MANAGER)


def gate(project: str) -> str:
    """The name of a project's merge gate."""
    return f"gate.{project}"


def free_agent(tx: Transaction, project: Project, role: Role, *, now: float, avoid: str | None) -> str | None:
    """The name of a free agent of this role; a new one is hired if the project's limit allows. None if neither.

    The agent named `avoid` is chosen only if there is no other.
    """
    colleagues = [row for row in crew.all_agents(tx, project=project.name) if row.role == role.value]
    free = [row.name for row in colleagues if _is_free(row)]
    others = [name for name in free if name != avoid]
    if others:
        return others[0]
    if len(colleagues) < project.engineers:
        return _hire(tx, project, role, {row.name for row in colleagues}, now=now)
    return free[0] if free else None


def _is_free(row: Agent) -> bool:
    return row.wanted and not row.paused and row.task is None and row.state is not AgentState.QUARANTINED


def _hire(tx: Transaction, project: Project, role: Role, taken: set[str], *, now: float) -> str:
    """Add an agent with the first free number. The supervisor starts its process."""
    names = (member(project.name, role, number) for number in range(1, len(taken) + 2))
    name = next(name for name in names if name not in taken)
    crew.add_agent(tx, name=name, kind=ActorKind.AGENT, role=role, project=project.name, now=now)
    notify_supervisor(tx, project.name, now=now)
    return name


def notify_supervisor(tx: Transaction, project: str | None, *, now: float) -> None:
    """Have the supervisor read again which agents should run."""
    mailbox.post(tx, HUMAN, SUPERVISOR, ProjectChanged(project=project), now=now)
