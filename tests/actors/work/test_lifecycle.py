"""The states of a project: every command in every state, and what it does beside."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.runtime.addresses import SUPERVISOR
from actors.work import lifecycle
from store import crew, facts, inbox, incidents, timers
from store.engine import Store, Transaction
from store.errors import IllegalTransition
from store.states import AgentState, ProjectState, Role
from tests.support.stores import NOW, add_agent, add_project, open_store

ROOT = Path(__file__).parents[3]
LIVE = (ProjectState.ACTIVE, ProjectState.PAUSED)
ENDED = (ProjectState.FINISHED, ProjectState.CANCELLED)
COMMANDS: dict[str, Callable[[Transaction], None]] = {
    "pause": lambda tx: lifecycle.pause(tx, "shop", now=NOW),
    "stop": lambda tx: lifecycle.stop(tx, "shop", now=NOW),
    "resume": lambda tx: lifecycle.resume(tx, "shop", now=NOW),
    "restart": lambda tx: lifecycle.restart(tx, "shop", now=NOW),
    "restart_agent": lambda tx: lifecycle.restart_agent(tx, "pm.shop", now=NOW),
    "cancel": lambda tx: lifecycle.cancel(tx, "shop", reason="enough", now=NOW),
    "finish": lambda tx: lifecycle.finish(tx, "shop", summary="done", by="pm.shop", now=NOW),
    "archive": lambda tx: lifecycle.archive(tx, "shop", now=NOW),
}
# What a live project becomes; of one that has ended only `archive` changes the state.
TARGETS = {
    "pause": ProjectState.PAUSED,
    "stop": ProjectState.PAUSED,
    "resume": ProjectState.ACTIVE,
    "restart": ProjectState.ACTIVE,
    "cancel": ProjectState.CANCELLED,
    "finish": ProjectState.FINISHED,
}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Store]:
    """The project `shop` with its gate, its manager and an engineer, and a check-in of the manager."""
    store = open_store(tmp_path / "crew.db")
    add_project(store, "shop")
    add_agent(store, "gate.shop", project="shop")
    add_agent(store, "pm.shop", role=Role.PROJECT_MANAGER, project="shop")
    add_agent(store, "engineer-1.shop", role=Role.ENGINEER, project="shop")
    with store.write() as tx:
        timers.add(tx, recipient="pm.shop", note="", due_at=NOW + 60, created_by="human", now=NOW)
    yield store
    store.close()


def _run(store: Store, command: str) -> None:
    with store.write() as tx:
        COMMANDS[command](tx)


def _set(store: Store, state: ProjectState) -> None:
    with store.write() as tx:
        crew.set_project_state(tx, "shop", state)


def _wanted(store: Store) -> set[str]:
    return {row.name for row in crew.team_of(store, "shop") if row.wanted}


def _sent(store: Store, kind: str) -> set[str]:
    return {row.recipient for row in inbox.listed(store) if row.kind == kind}


@pytest.mark.parametrize("state", LIVE)
@pytest.mark.parametrize(("command", "target"), TARGETS.items(), ids=TARGETS)
def test_a_live_project_takes_every_command_but_archive(
    shop: Store, state: ProjectState, command: str, target: ProjectState
) -> None:
    _set(shop, state)
    _run(shop, command)
    assert crew.project(shop, "shop").state is target


@pytest.mark.parametrize("state", [*ENDED, ProjectState.ARCHIVED])
@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("finish", "archive")])
def test_a_project_that_has_ended_refuses_every_command_but_archive(
    shop: Store, state: ProjectState, command: str
) -> None:
    _set(shop, state)
    before = crew.project(shop, "shop"), crew.team_of(shop, "shop")
    with pytest.raises(IllegalTransition, match=f"the project shop is {state}"):
        _run(shop, command)
    assert (crew.project(shop, "shop"), crew.team_of(shop, "shop")) == before
    assert inbox.listed(shop) == []


@pytest.mark.parametrize("state", [*ENDED, ProjectState.ARCHIVED])
def test_finishing_a_project_that_has_ended_changes_nothing(shop: Store, state: ProjectState) -> None:
    _set(shop, state)
    before = crew.project(shop, "shop")
    _run(shop, "finish")
    assert crew.project(shop, "shop") == before
    assert incidents.counts(shop) == {}


@pytest.mark.parametrize("state", [*LIVE, ProjectState.ARCHIVED])
def test_only_a_project_that_has_ended_can_be_archived(shop: Store, state: ProjectState) -> None:
    _set(shop, state)
    with pytest.raises(IllegalTransition, match=f"the project shop is {state}"):
        _run(shop, "archive")


@pytest.mark.parametrize("state", ENDED)
def test_archiving_takes_the_team_out_of_the_lists_and_records_when(shop: Store, state: ProjectState) -> None:
    _set(shop, state)
    _run(shop, "archive")
    assert crew.all_agents(shop, project="shop") == []
    assert {row.state for row in crew.team_of(shop, "shop")} == {AgentState.ARCHIVED}
    assert facts.get(shop, facts.archived_at("shop")) == NOW


def test_pause_and_resume_interrupt_the_agents_and_leave_the_processes(shop: Store) -> None:
    _run(shop, "pause")
    assert _sent(shop, "pause") == {"pm.shop", "engineer-1.shop"}, "the gate has no turn to interrupt"
    assert len(_wanted(shop)) == 3
    _run(shop, "resume")
    assert _sent(shop, "resume") == {"pm.shop", "engineer-1.shop"}
    assert _sent(shop, "project_changed") == {SUPERVISOR}


def test_stop_ends_the_processes_and_restart_brings_them_back(shop: Store) -> None:
    with shop.write() as tx:
        crew.change_agent(tx, "pm.shop", paused=True)
    _run(shop, "stop")
    assert _wanted(shop) == set()
    assert len(timers.listed(shop)) == 1, "its check-ins go on after a restart"
    _run(shop, "restart")
    assert len(_wanted(shop)) == 3
    assert not crew.agent(shop, "pm.shop").paused
    assert _sent(shop, "restart_agent") == {SUPERVISOR}


@pytest.mark.parametrize(("command", "summary"), [("finish", "done"), ("cancel", "enough")])
def test_an_end_stops_the_team_for_good_and_says_why(shop: Store, command: str, summary: str) -> None:
    _run(shop, command)
    project = crew.project(shop, "shop")
    assert (project.summary, project.finished_at) == (summary, NOW)
    assert _wanted(shop) == set()
    assert timers.listed(shop) == []
    assert _sent(shop, "project_changed") == {SUPERVISOR}


def test_the_table_has_a_row_for_every_state_and_no_way_back_from_an_end() -> None:
    assert set(lifecycle.TRANSITIONS) == set(ProjectState)
    for state, targets in lifecycle.TRANSITIONS.items():
        assert state.is_live or not any(target.is_live for target in targets)


def test_nobody_else_changes_a_projects_state() -> None:
    callers = {
        str(path.relative_to(ROOT))
        for folder in ("actors", "supervisor")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "set_project_state"
    }
    assert callers == {"actors/work/lifecycle.py"}
