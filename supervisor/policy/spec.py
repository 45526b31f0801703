"""Child specs: what the supervisor needs to know about a child, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Tier(StrEnum):
    """Children start from the first tier to the last; the shutdown stops one tier at a time, the last first."""

    SERVICE = "service"
    ORCHESTRATOR = "orchestrator"
    GATE = "gate"
    MANAGER = "manager"
    TEAM = "team"


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child. It is restarted after every exit that was not requested.

    `kind` names its class (`actors/runtime/kinds.py`). `grace_s` is the time from TERM to KILL.
    """

    name: str
    kind: str
    tier: Tier
    grace_s: float = 5.0
