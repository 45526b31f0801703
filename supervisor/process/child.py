"""One child as the supervisor sees it: its spec, what it is doing, and its account of crashes."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.policy.intensity import Intensity
from supervisor.policy.spec import ChildSpec
from supervisor.process.launch import Process


@dataclass(frozen=True, slots=True)
class Idle:
    """Not running and nothing planned."""


@dataclass(frozen=True, slots=True)
class Starting:
    """Forked, not ready yet. Times here are monotonic seconds."""

    process: Process
    since: float


@dataclass(frozen=True, slots=True)
class Running:
    process: Process
    since: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """Starts at `until`. `crashed`: how its last incarnation ended; None if it only waits for the zygote."""

    until: float
    crashed: str | None = None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Crashed past the limit; tried once more at `until`, so that a night is not lost to one bad hour."""

    until: float


@dataclass(frozen=True, slots=True)
class Stopping:
    """Asked to end; killed at `kill_at`. `again`: start it anew afterwards."""

    process: Process
    kill_at: float
    again: bool


Status = Idle | Starting | Running | Waiting | Quarantined | Stopping


@dataclass(slots=True)
class Child:
    """Mutable on purpose, and only by the supervisor's own thread."""

    spec: ChildSpec
    intensity: Intensity
    status: Status = Idle()

    @property
    def process(self) -> Process | None:
        """The live process, if there is one."""
        match self.status:
            case Starting(process) | Running(process) | Stopping(process):
                return process
            case _:
                return None
