"""Child specs from the agents' rows, and the rows of the crew's own actors."""

from __future__ import annotations

from actors.runtime.addresses import ORCHESTRATOR, TIMER, TMUX
from store import crew
from store.engine import Transaction
from store.rows import Agent
from store.states import ActorKind, Role
from supervisor.policy.spec import ChildSpec, Tier

_TIER_OF_ROLE = {Role.ORCHESTRATOR: Tier.ORCHESTRATOR, Role.PROJECT_MANAGER: Tier.MANAGER}
ORDER = tuple(Tier)


def add_services(tx: Transaction, *, now: float, tmux: bool) -> None:
    """Add the rows of the timer, the tmux actor and the orchestrator, unless they exist."""
    crew.add_agent(tx, name=TIMER, kind=ActorKind.TIMER, role=None, project=None, now=now)
    crew.add_agent(tx, name=TMUX, kind=ActorKind.TMUX, role=None, project=None, now=now)
    crew.change_agent(tx, TMUX, wanted=tmux)
    crew.add_agent(tx, name=ORCHESTRATOR, kind=ActorKind.AGENT, role=Role.ORCHESTRATOR, project=None, now=now)


def spec_of(row: Agent, grace_s: float) -> ChildSpec:
    """The child spec of an agent's row."""
    match row.kind:
        case ActorKind.TIMER | ActorKind.TMUX:
            tier = Tier.SERVICE
        case ActorKind.GATE:
            tier = Tier.GATE
        case _:
            tier = Tier.TEAM if row.role is None else _TIER_OF_ROLE.get(row.role, Tier.TEAM)
    return ChildSpec(row.name, row.kind, tier, grace_s=grace_s)


def in_start_order(specs: list[ChildSpec]) -> list[ChildSpec]:
    """Sorted by tier, services first; within a tier the order is unchanged."""
    return sorted(specs, key=lambda spec: ORDER.index(spec.tier))
