"""Projects and agents: who should run, who does, and under which generation."""

from __future__ import annotations

import functools
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from store.engine import Store, Transaction
from store.errors import NotFound
from store.prepared import Prepared
from store.schema import agents, projects
from store.states import Activity, AgentState, ProjectState

_PROJECT = Prepared(select(projects).where(projects.c.name == bindparam("project_name")))
_ACTIVE = Prepared(select(projects.c.name).where(projects.c.state == ProjectState.ACTIVE.value).limit(1))
_AGENT = Prepared(select(agents).where(agents.c.name == bindparam("agent_name")))
_RAISE = Prepared(
    update(agents).where(agents.c.name == bindparam("agent_name")).values(generation=agents.c.generation + 1)
)


@functools.cache
def _change_agent(columns: tuple[str, ...]) -> Prepared:
    return Prepared(update(agents).where(agents.c.name == bindparam("agent_name")), columns)


def add_project(tx: Transaction, *, now: float, **values: Any) -> None:
    """Insert a project row; `values` are the columns of `schema.projects`."""
    tx.execute(insert(projects), {"state": ProjectState.ACTIVE.value, "created_at": now, **values})


def change_project(tx: Transaction, name: str, **values: Any) -> None:
    tx.execute(update(projects).where(projects.c.name == name).values(**values))


def project(source: Store | Transaction, name: str) -> dict[str, Any]:
    """One project. Raises `NotFound`."""
    found = find_project(source, name)
    if found is None:
        raise NotFound(f"there is no project {name}")
    return found


def find_project(source: Store | Transaction, name: str) -> dict[str, Any] | None:
    return source.row(_PROJECT, {"project_name": name})


def all_projects(store: Store) -> list[dict[str, Any]]:
    return store.rows(select(projects).order_by(projects.c.created_at))


def active_projects(store: Store) -> list[dict[str, Any]]:
    """Those that are worked on now."""
    return store.rows(select(projects).where(projects.c.state == ProjectState.ACTIVE.value))


def is_active(store: Store) -> bool:
    """Whether any project is worked on now; asked often."""
    return store.row(_ACTIVE) is not None


def add_agent(
    tx: Transaction,
    *,
    name: str,
    kind: str,
    role: str | None,
    project: str | None,
    now: float,
    options: dict[str, Any] | None = None,
) -> bool:
    """Make an agent wanted, or wanted again; False if it was already."""
    row = tx.execute(select(agents.c.wanted).where(agents.c.name == name)).first()
    if row is not None:
        if not row[0]:
            tx.execute(
                update(agents)
                .where(agents.c.name == name)
                .values(wanted=True, state=AgentState.STOPPED.value, reason=None)
            )
        return not row[0]
    tx.execute(
        insert(agents),
        {
            "name": name,
            "kind": kind,
            "role": role,
            "project": project,
            "wanted": True,
            "state": AgentState.STOPPED.value,
            "generation": 0,
            "restarts": 0,
            "paused": False,
            "activity": Activity.IDLE.value,
            "context_from": 0,
            "options": options or {},
            "created_at": now,
        },
    )
    return True


def team_of(store: Store, project: str) -> list[dict[str, Any]]:
    """A project's agents, archived ones too."""
    return store.rows(select(agents).where(agents.c.project == project))


def change_agent(tx: Transaction, name: str, **values: Any) -> None:
    tx.run(_change_agent(tuple(values)), {"agent_name": name, **values})


def next_generation(tx: Transaction, name: str) -> int:
    """Raise the fence: from this commit on, the agent's older incarnations can write nothing."""
    tx.run(_RAISE, {"agent_name": name})
    return int(agent(tx, name)["generation"])


def agent(source: Store | Transaction, name: str) -> dict[str, Any]:
    """One agent. Raises `NotFound`."""
    found = find_agent(source, name)
    if found is None:
        raise NotFound(f"there is no agent {name}")
    return found


def find_agent(source: Store | Transaction, name: str) -> dict[str, Any] | None:
    return source.row(_AGENT, {"agent_name": name})


def all_agents(source: Store | Transaction, *, project: str | None = None) -> list[dict[str, Any]]:
    """Agents in the order in which they were made; archived ones are left out."""
    query = select(agents).where(agents.c.state != AgentState.ARCHIVED.value).order_by(agents.c.created_at)
    if project is not None:
        query = query.where(agents.c.project == project)
    return source.rows(query)
