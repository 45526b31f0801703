"""Projects and agents: which actors should run, which are running, and the generation of each."""

from __future__ import annotations

import functools
from typing import TypedDict, Unpack

from sqlalchemy import bindparam, insert, select, update

from store.engine import Source, Store, Transaction
from store.engine.prepared import Prepared, Query
from store.errors import NotFound
from store.rows import Agent, Project, ProjectSpec
from store.schema import agents, projects
from store.states import Activity, AgentState, ProjectState, Role

_PROJECT = Query(select(projects).where(projects.c.name == bindparam("project_name")), Project)
_PROJECTS = Query(select(projects).order_by(projects.c.created_at), Project)
_ACTIVE = Query(
    select(projects).where(projects.c.state == ProjectState.ACTIVE).order_by(projects.c.created_at), Project
)
_ANY_ACTIVE = Query(select(projects.c.name).where(projects.c.state == ProjectState.ACTIVE).limit(1), str)
_AGENT = Query(select(agents).where(agents.c.name == bindparam("agent_name")), Agent)
_TEAM = Query(select(agents).where(agents.c.project == bindparam("project_name")), Agent)
_present = select(agents).where(agents.c.state != AgentState.ARCHIVED).order_by(agents.c.created_at)
_AGENTS = Query(_present, Agent)
_PRESENT_TEAM = Query(_present.where(agents.c.project == bindparam("project_name")), Agent)
_RAISE = Prepared(
    update(agents).where(agents.c.name == bindparam("agent_name")).values(generation=agents.c.generation + 1)
)


@functools.cache
def _change_agent(columns: tuple[str, ...]) -> Prepared:
    return Prepared(update(agents).where(agents.c.name == bindparam("agent_name")), columns)


class NewProject(TypedDict):
    """The columns of a new project."""

    name: str
    title: str
    repository: str
    branch: str
    base_branch: str | None
    base_commit: str
    goal: str
    spec: ProjectSpec
    checks: list[str]
    checks_source: str
    engineers: int
    with_qa: bool


class ProjectEnd(TypedDict, total=False):
    """The columns that are set when a project ends."""

    summary: str | None
    finished_at: float | None


class AgentChange(TypedDict, total=False):
    """Columns of an agent that may change."""

    wanted: bool
    state: AgentState
    reason: str | None
    restarts: int
    pid: int | None
    ready_at: float | None
    paused: bool
    activity: Activity
    activity_since: float | None
    deadline_at: float | None
    last_progress_at: float | None
    task: int | None
    context_from: int


def add_project(tx: Transaction, *, now: float, **columns: Unpack[NewProject]) -> None:
    """Insert an active project."""
    tx.execute(insert(projects), {"state": ProjectState.ACTIVE, "created_at": now, **columns})


def set_project_state(tx: Transaction, name: str, state: ProjectState, **values: Unpack[ProjectEnd]) -> None:
    """Set a project's state, and columns with it. Which changes are legal is decided in `actors/work/lifecycle.py`."""
    tx.execute(update(projects).where(projects.c.name == name).values(state=state, **values))


def project(source: Source, name: str) -> Project:
    """One project. Raises `NotFound`."""
    found = find_project(source, name)
    if found is None:
        raise NotFound(f"there is no project {name}")
    return found


def find_project(source: Source, name: str) -> Project | None:
    """One project, or None."""
    return source.first(_PROJECT, {"project_name": name})


def all_projects(store: Store) -> list[Project]:
    """Every project, oldest first."""
    return store.fetch(_PROJECTS)


def active_projects(store: Store) -> list[Project]:
    """The active projects, oldest first."""
    return store.fetch(_ACTIVE)


def is_active(store: Store) -> bool:
    """Whether any project is active."""
    return store.first(_ANY_ACTIVE) is not None


def add_agent(
    tx: Transaction, *, name: str, kind: str, role: Role | None, project: str | None, now: float
) -> bool:
    """Add an agent that should run (`wanted`), or set `wanted` of an existing one; False if it was set already.

    `kind` is an `ActorKind` or `module:Class`.
    """
    known = find_agent(tx, name)
    if known is not None:
        if not known.wanted:
            change_agent(tx, name, wanted=True, state=AgentState.STOPPED, reason=None)
        return not known.wanted
    tx.execute(
        insert(agents),
        {
            "name": name,
            "kind": kind,
            "role": role,
            "project": project,
            "wanted": True,
            "state": AgentState.STOPPED,
            "generation": 0,
            "restarts": 0,
            "paused": False,
            "activity": Activity.IDLE,
            "context_from": 0,
            "created_at": now,
        },
    )
    return True


def team_of(store: Store, project: str) -> list[Agent]:
    """A project's agents, archived ones too."""
    return store.fetch(_TEAM, {"project_name": project})


def change_agent(tx: Transaction, name: str, **values: Unpack[AgentChange]) -> None:
    """Set columns of an agent."""
    tx.run(_change_agent(tuple(values)), {"agent_name": name, **values})


def next_generation(tx: Transaction, name: str) -> int:
    """Raise the agent's generation and return it. After the commit, writes of older incarnations are refused."""
    tx.run(_RAISE, {"agent_name": name})
    return agent(tx, name).generation


def agent(source: Source, name: str) -> Agent:
    """One agent. Raises `NotFound`."""
    found = find_agent(source, name)
    if found is None:
        raise NotFound(f"there is no agent {name}")
    return found


def find_agent(source: Source, name: str) -> Agent | None:
    """One agent, or None."""
    return source.first(_AGENT, {"agent_name": name})


def all_agents(source: Source, *, project: str | None = None) -> list[Agent]:
    """Agents in the order of their creation, without archived ones."""
    if project is None:
        return source.fetch(_AGENTS)
    return source.fetch(_PRESENT_TEAM, {"project_name": project})
