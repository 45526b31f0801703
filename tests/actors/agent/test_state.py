"""An agent's deadlines: each activity has its whole time, and a deadline that is far enough is not written again."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.agent.state import WorkingState
from actors.home import Home
from actors.runtime.context import Runtime
from actors.runtime.wake import Waker
from actors.settings import Config
from actors.work import deadlines
from store import crew as rows
from store.engine import Store
from store.states import Activity, AgentState, Role
from tests.support.stores import NOW, add_project, new_incarnation


@pytest.fixture
def shop(store: Store) -> Store:
    add_project(store, "shop")
    with store.write() as tx:
        rows.add_agent(tx, name="timer", kind="timer", role=None, project=None, now=NOW)
        rows.change_agent(tx, "timer", state=AgentState.RUNNING, ready_at=NOW)
    return store


def _state(store: Store, home: Home, clock: list[float]) -> WorkingState:
    with store.write() as tx:
        rows.add_agent(tx, name="engineer-1.shop", kind="agent", role=Role.ENGINEER, project="shop", now=NOW)
    fence = new_incarnation(store, "engineer-1.shop")
    runtime = Runtime(
        fence.agent, fence.generation, home, Config(), store, Waker(home.run), clock=lambda: clock[0]
    )
    return WorkingState(runtime, rows.agent(store, fence.agent))


def test_each_model_call_has_its_whole_time_whatever_came_before_it_without_a_commit(
    shop: Store, tmp_path: Path
) -> None:
    clock = [NOW]
    home = Home(tmp_path / "home")
    home.make()
    state = _state(shop, home, clock)
    limits = state.runtime.config.model.limits
    for _ in range(5):  # as five malformed replies in a row, each after nearly all the time there is
        state.expect(Activity.MODEL)
        row = rows.agent(shop, state.runtime.name)
        assert row.activity == Activity.MODEL
        assert row.deadline_at is not None
        assert row.deadline_at >= clock[0] + limits.connect_s + limits.total_s
        clock[0] += limits.total_s
        assert deadlines.overdue_agents(shop, clock[0]) == []
    state.runtime.waker.close()


def test_a_deadline_that_is_far_enough_costs_no_commit(shop: Store, tmp_path: Path) -> None:
    clock = [NOW]
    home = Home(tmp_path / "home")
    home.make()
    state = _state(shop, home, clock)
    state.expect(Activity.MODEL)
    before = rows.agent(shop, state.runtime.name)
    clock[0] += 30
    state.expect(Activity.MODEL)
    assert rows.agent(shop, state.runtime.name) == before
    state.expect(Activity.WAITING, 1_800.0, at_least_s=900.0)
    assert rows.agent(shop, state.runtime.name).deadline_at == clock[0] + 1_800
    state.runtime.waker.close()
