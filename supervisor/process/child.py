"""One child as the supervisor sees it: its spec, its status, and its recent crashes."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.policy.intensity import Intensity
from supervisor.policy.spec import ChildSpec
from supervisor.process.launch import Process


@dataclass(frozen=True, slots=True)
class Idle:
    """Not running, and no start is planned."""


@dataclass(frozen=True, slots=True)
class Starting:
    """Forked at `since` and not ready yet. All times here are monotonic seconds."""

    process: Process
    since: float


@dataclass(frozen=True, slots=True)
class Running:
    """Ready since `since`."""

    process: Process
    since: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """To be started at `until`. `crashed`: how its last incarnation ended; None if it did not crash."""

    until: float
    crashed: str | None = None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Crashed too often. Started again at `until`, so that an agent is not lost for the whole run."""

    until: float


@dataclass(frozen=True, slots=True)
class Stopping:
    """Was sent SIGTERM; gets SIGKILL at `kill_at`. `again`: start it again after its end."""

    process: Process
    kill_at: float
    again: bool


Status = Idle | Starting | Running | Waiting | Quarantined | Stopping


@dataclass(slots=True)
class Child:
    """Mutable, and changed by the supervisor's thread alone."""

    spec: ChildSpec
    intensity: Intensity
    status: Status = Idle()

    @property
    def process(self) -> Process | None:
        """Its process, or None in a status without one."""
        match self.status:
            case Starting(process) | Running(process) | Stopping(process):
                return process
            case _:
                return None
