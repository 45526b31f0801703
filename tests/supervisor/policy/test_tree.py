"""Which children there should be, in which tier, in which order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from store import crew
from store.engine import Store
from store.rows import Agent
from store.states import Role
from supervisor.policy import tree
from supervisor.policy.spec import ChildSpec, Tier
from tests.support.stores import NOW, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "crew.db")
    yield opened
    opened.close()


def _row(store: Store, kind: str, role: Role | None) -> Agent:
    with store.write() as tx:
        crew.add_agent(tx, name="n", kind=kind, role=role, project=None, now=NOW)
    return crew.agent(store, "n")


@pytest.mark.parametrize(
    ("kind", "role", "tier"),
    [
        ("timer", None, Tier.SERVICE),
        ("tmux", None, Tier.SERVICE),
        ("agent", Role.ORCHESTRATOR, Tier.ORCHESTRATOR),
        ("gate", None, Tier.GATE),
        ("agent", Role.PROJECT_MANAGER, Tier.MANAGER),
        ("agent", Role.ENGINEER, Tier.TEAM),
        ("agent", Role.QA, Tier.TEAM),
        ("agent", Role.REVIEWER, Tier.TEAM),
    ],
)
def test_a_childs_tier_follows_from_its_row(store: Store, kind: str, role: Role | None, tier: Tier) -> None:
    assert tree.spec_of(_row(store, kind, role), 3.0) == ChildSpec("n", kind, tier, 3.0)


def test_the_start_order_is_services_orchestrator_gate_manager_team_and_as_made_within_a_tier() -> None:
    made = [
        ("e2", Tier.TEAM),
        ("pm", Tier.MANAGER),
        ("e1", Tier.TEAM),
        ("gate", Tier.GATE),
        ("timer", Tier.SERVICE),
        ("o", Tier.ORCHESTRATOR),
    ]
    specs = [ChildSpec(name, "agent", tier) for name, tier in made]
    assert [spec.name for spec in tree.in_start_order(specs)] == ["timer", "o", "gate", "pm", "e2", "e1"]


def test_the_services_rows_are_made_once(store: Store) -> None:
    for _ in range(2):
        with store.write() as tx:
            tree.add_services(tx, now=NOW, tmux=True)
    assert [row.name for row in crew.all_agents(store)] == ["timer", "tmux", "orchestrator"]
    assert all(row.wanted for row in crew.all_agents(store))


def test_the_tmux_actor_is_wanted_only_if_configured(store: Store) -> None:
    for wanted in (False, True, False):
        with store.write() as tx:
            tree.add_services(tx, now=NOW, tmux=wanted)
        assert crew.agent(store, "tmux").wanted is wanted
