"""Child specs: what the supervisor needs to know of a child, as data (after OTP's `supervisor`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Restart(StrEnum):
    """When a child that exited is started again."""

    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # only after an abnormal exit
    TEMPORARY = "temporary"  # never


class Exit(StrEnum):
    """How a child ended, as far as restarting cares."""

    NORMAL = "normal"  # by itself, code 0
    SHUTDOWN = "shutdown"  # because its supervisor asked for it
    ABNORMAL = "abnormal"  # anything else: another code, a signal


class Tier(StrEnum):
    """Start order from the top; shutdown runs from the bottom up, one tier at a time."""

    SERVICE = "service"
    ORCHESTRATOR = "orchestrator"
    GATE = "gate"
    MANAGER = "manager"
    TEAM = "team"


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child. `kind` names its actor's class (`actors/kinds.py`); `grace_s`: from TERM to KILL."""

    name: str
    kind: str
    tier: Tier
    restart: Restart = Restart.PERMANENT
    grace_s: float = 5.0
