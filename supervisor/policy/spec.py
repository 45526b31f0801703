"""Child specs: what the supervisor needs to know about a child, as data (after OTP's `supervisor`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Restart(StrEnum):
    """When a child that exited is started again."""

    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # only after an abnormal exit
    TEMPORARY = "temporary"  # never


class Exit(StrEnum):
    """How a child ended, as far as restarts depend on it."""

    NORMAL = "normal"  # by itself, code 0
    SHUTDOWN = "shutdown"  # because its supervisor asked for it
    ABNORMAL = "abnormal"  # anything else: another code, a signal


class Tier(StrEnum):
    """Children start from the first tier to the last; the shutdown stops one tier at a time, the last first."""

    SERVICE = "service"
    ORCHESTRATOR = "orchestrator"
    GATE = "gate"
    MANAGER = "manager"
    TEAM = "team"


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child. `kind` names its class (`actors/runtime/kinds.py`). `grace_s` is the time from TERM to KILL."""

    name: str
    kind: str
    tier: Tier
    restart: Restart = Restart.PERMANENT
    grace_s: float = 5.0
