"""The life of a project: the table of its states, and the only functions that change them.

Each function changes the store in the caller's transaction, so the change and its messages are committed together.
They raise `IllegalTransition` for a project that has ended already.

| command or event  | from           | to        | and                                                    |
|-------------------|----------------|-----------|--------------------------------------------------------|
| pause             | ACTIVE, PAUSED | PAUSED    | agents interrupt their turns                           |
| stop              | ACTIVE, PAUSED | PAUSED    | its processes end                                      |
| resume            | ACTIVE, PAUSED | ACTIVE    | agents continue, processes start, tasks are assigned   |
| restart           | ACTIVE, PAUSED | ACTIVE    | its processes are replaced                             |
| finish            | ACTIVE, PAUSED | FINISHED  | its processes end for good, its check-ins are cancelled |
| cancel            | ACTIVE, PAUSED | CANCELLED | agents drop their turns, then as for finish            |
| archive           | ended          | ARCHIVED  | its agents disappear from the lists                    |
"""

from __future__ import annotations

from typing import Unpack

from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN, SUPERVISOR, Priority
from actors.runtime.messages import AnyMessage, CancelTurn, Pause, RestartAgent, Resume
from actors.work import assignment, team
from store import crew, facts, incidents, timers
from store.crew import ProjectEnd
from store.engine import Transaction
from store.errors import IllegalTransition
from store.rows import Project
from store.states import AgentState, IncidentKind, ProjectState

_ENDS = frozenset({ProjectState.FINISHED, ProjectState.CANCELLED})
# One row per state: what it may become. Pausing a paused project again is harmless, so a live state may stay.
TRANSITIONS: dict[ProjectState, frozenset[ProjectState]] = {
    ProjectState.ACTIVE: frozenset({ProjectState.ACTIVE, ProjectState.PAUSED, *_ENDS}),
    ProjectState.PAUSED: frozenset({ProjectState.ACTIVE, ProjectState.PAUSED, *_ENDS}),
    ProjectState.FINISHED: frozenset({ProjectState.ARCHIVED}),
    ProjectState.CANCELLED: frozenset({ProjectState.ARCHIVED}),
    ProjectState.ARCHIVED: frozenset(),
}


def require_live(project: Project) -> None:
    """Raise `IllegalTransition` if the project has ended."""
    if not project.state.is_live:
        raise IllegalTransition(f"the project {project.name} is {project.state}")


def pause(tx: Transaction, name: str, *, now: float) -> None:
    """Interrupt all its agents, until `resume`."""
    _move(tx, name, ProjectState.PAUSED)
    _control_team(tx, name, Pause(), now=now)


def stop(tx: Transaction, name: str, *, now: float) -> None:
    """End all its processes, until `resume` or `restart`."""
    _move(tx, name, ProjectState.PAUSED)
    _want_team(tx, name, wanted=False)
    team.notify_supervisor(tx, name, now=now)


def resume(tx: Transaction, name: str, *, now: float) -> None:
    """Continue after `pause` or `stop`."""
    _move(tx, name, ProjectState.ACTIVE)
    _want_team(tx, name, wanted=True)
    _control_team(tx, name, Resume(), now=now)
    assignment.assign_waiting(tx, crew.project(tx, name), now=now)
    team.notify_supervisor(tx, name, now=now)


def restart(tx: Transaction, name: str, *, now: float) -> None:
    """Replace all its processes; an agent in quarantine is started too."""
    _move(tx, name, ProjectState.ACTIVE)
    for agent in crew.all_agents(tx, project=name):
        restart_agent(tx, agent.name, now=now)


def restart_agent(tx: Transaction, name: str, *, now: float) -> None:
    """Replace the process of one agent, which must not belong to a project that has ended."""
    project = crew.agent(tx, name).project
    if project is not None:
        require_live(crew.project(tx, project))
    crew.change_agent(tx, name, wanted=True, paused=False)
    control(tx, SUPERVISOR, RestartAgent(agent=name), now=now)


def finish(tx: Transaction, name: str, *, summary: str, by: str, now: float) -> None:
    """End a project whose work is done. A project that has ended already stays as it is."""
    if not crew.project(tx, name).state.is_live:
        return  # a manager may repeat its call after a crash
    _move(tx, name, ProjectState.FINISHED, summary=summary, finished_at=now)
    _dismiss_team(tx, name, now=now)
    incidents.record(tx, IncidentKind.PROJECT_FINISHED, now=now, project=name, by=by)


def cancel(tx: Transaction, name: str, *, reason: str, now: float) -> None:
    """End a project before its work is done; its branches and worktrees stay."""
    _move(tx, name, ProjectState.CANCELLED, summary=reason, finished_at=now)
    _control_team(tx, name, CancelTurn(reason=reason), now=now)
    _dismiss_team(tx, name, now=now)


def archive(tx: Transaction, name: str, *, now: float) -> None:
    """Take an ended project, of which no process runs any more, out of the lists."""
    _move(tx, name, ProjectState.ARCHIVED)
    for agent in crew.all_agents(tx, project=name):
        crew.change_agent(tx, agent.name, wanted=False, state=AgentState.ARCHIVED)
    facts.put(tx, facts.archived_at(name), now, now=now)


def control(tx: Transaction, recipient: str, message: AnyMessage, *, now: float) -> None:
    """Send a control message of the human, which interrupts what its recipient does."""
    mailbox.post(tx, HUMAN, recipient, message, now=now, priority=Priority.CONTROL)


def _move(tx: Transaction, name: str, target: ProjectState, **values: Unpack[ProjectEnd]) -> None:
    project = crew.project(tx, name)
    if target not in TRANSITIONS[project.state]:
        raise IllegalTransition(f"the project {name} is {project.state}")
    crew.set_project_state(tx, name, target, **values)


def _control_team(tx: Transaction, project: str, message: AnyMessage, *, now: float) -> None:
    """Send a control message to each agent with a model that should run."""
    for agent in crew.all_agents(tx, project=project):
        if agent.role and agent.wanted:
            control(tx, agent.name, message, now=now)


def _want_team(tx: Transaction, project: str, *, wanted: bool) -> None:
    for agent in crew.all_agents(tx, project=project):
        crew.change_agent(tx, agent.name, wanted=wanted)


def _dismiss_team(tx: Transaction, project: str, *, now: float) -> None:
    """End its processes for good and cancel its check-ins."""
    names = [agent.name for agent in crew.all_agents(tx, project=project)]
    for name in names:
        crew.change_agent(tx, name, wanted=False, task=None)
    timers.cancel_for(tx, names)
    team.notify_supervisor(tx, project, now=now)
