"""Deadlines move with the clock when it jumps."""

from __future__ import annotations

from typing import Any

import pytest

from actors.work import deadlines
from store import crew as rows
from store import inbox, incidents
from store.engine import Store
from store.states import Activity, AgentState, Role
from tests.support.stores import NOW, add_project, put


def _team(store: Store, *names: str, activity: Activity = Activity.IDLE, **values: Any) -> None:
    """Agents of the project `shop` that run since long ago."""
    roles = {"pm": Role.PROJECT_MANAGER, "engineer": Role.ENGINEER, "gate": None}
    with store.write() as tx:
        for name in names:
            role = roles[name.split(".")[0].split("-")[0]]
            kind = "gate" if role is None else "agent"
            rows.add_agent(tx, name=name, kind=kind, role=role, project="shop", now=NOW)
            rows.change_agent(tx, name, state=AgentState.RUNNING, ready_at=NOW, activity=activity)
            if values:
                rows.change_agent(tx, name, **values)


@pytest.fixture
def shop(store: Store) -> Store:
    add_project(store, "shop")
    with store.write() as tx:
        rows.add_agent(tx, name="timer", kind="timer", role=None, project=None, now=NOW)
        rows.change_agent(tx, "timer", state=AgentState.RUNNING, ready_at=NOW)
    return store


def test_a_sleep_moves_every_deadline_and_is_recorded(shop: Store) -> None:
    _team(shop, "engineer-1.shop", activity=Activity.MODEL, deadline_at=NOW + 10)
    _team(shop, "pm.shop")
    with shop.write() as tx:
        deadlines.move_deadlines(tx, 7_200.0, slept_s=7_200.0, now=NOW + 7_200)
    assert rows.agent(shop, "engineer-1.shop").deadline_at == NOW + 7_210
    assert rows.agent(shop, "pm.shop").deadline_at is None
    assert deadlines.overdue_agents(shop, NOW + 7_205) == []
    assert incidents.counts(shop) == {"machine_slept": 1}


@pytest.mark.parametrize("drift_s", [7_200.0, -7_200.0])
def test_a_deadline_that_was_set_after_the_clock_changed_stays_as_it_is(shop: Store, drift_s: float) -> None:
    """Between the change and the tick that sees it, agents go on and write by the new time."""
    now = NOW + drift_s
    old, new = now - drift_s, now - 0.5
    _team(shop, "engineer-1.shop", activity=Activity.MODEL, activity_since=old, deadline_at=old + 60)
    _team(shop, "engineer-2.shop", activity=Activity.MODEL, activity_since=new, deadline_at=new + 60)
    with shop.write() as tx:
        deadlines.move_deadlines(tx, drift_s, slept_s=0.0, now=now)
    assert rows.agent(shop, "engineer-1.shop").deadline_at == old + 60 + drift_s
    assert rows.agent(shop, "engineer-2.shop").deadline_at == new + 60
    assert deadlines.overdue_agents(shop, now) == []


def test_a_clock_that_was_set_back_leaves_no_message_in_the_future(shop: Store) -> None:
    _team(shop, "engineer-1.shop")
    with shop.write() as tx:
        put(tx, "engineer-1.shop", now=NOW)
        deadlines.move_deadlines(tx, -3_600.0, slept_s=0.0, now=NOW - 3_600)
    assert inbox.peek(shop, "engineer-1.shop", now=NOW - 3_600) is not None
    assert incidents.counts(shop) == {"clock_was_set": 1}
