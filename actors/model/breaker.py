"""A host's circuit breaker, shared by all processes of a crew: who may ask a host that failed.

| state     | when                                                    | who may ask            |
|-----------|---------------------------------------------------------|------------------------|
| closed    | it answers; fewer than `FAILURES` failures in a row     | everybody              |
| open      | unreachable, or that many failures, until `retry_at`    | nobody                 |
| half open | after `retry_at`                                        | one, by the prober lock |

The prober's failure opens it again for twice as long (at most `LONGEST_S`, with jitter); its success
closes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from actors.model.capacity import replace_file

FAILURES = 3
FIRST_S = 0.5
LONGEST_S = 30.0


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Health:
    """Times are UTC seconds. `openings`: how often in a row it was opened without a success."""

    failures: int = 0
    openings: int = 0
    failed_at: float = 0.0
    retry_at: float = 0.0
    reason: str = ""

    def state(self, now: float) -> State:
        if not self.openings:
            return State.CLOSED
        # A clock that was set back must not keep a host closed off for longer than any pause.
        is_resting = now < self.retry_at <= now + LONGEST_S
        return State.OPEN if is_resting else State.HALF_OPEN


def after_failure(
    health: Health, *, began_at: float, now: float, unreachable: bool, reason: str, lot: float
) -> Health:
    """The health after one more failed request. `lot` in [0, 1) is the jitter."""
    if health.openings and began_at < health.failed_at:
        return health  # of the same outage: twenty agents that fail together are one failure
    failures = health.failures + 1
    if not (unreachable or health.openings or failures >= FAILURES):
        return Health(failures, 0, now, 0.0, reason)
    pause_s = min(LONGEST_S, FIRST_S * 2 ** min(health.openings, 10)) * (0.5 + lot / 2)
    return Health(failures, health.openings + 1, now, now + pause_s, reason)


@dataclass(slots=True)
class Pass:
    """Leave to ask. `is_probe`: this is the one who finds out; `settle` ends that as soon as it knows."""

    is_probe: bool
    _lock: int | None = None

    def settle(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class Breaker:
    """The breaker of one host. Holds nothing between uses: safe across threads and forks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "health.json"

    def health(self) -> Health:
        try:
            return Health(**json.loads(self._path.read_text()))
        except (OSError, ValueError, TypeError):
            return Health()

    def state(self) -> State:
        return self.health().state(time.time())

    @contextlib.contextmanager
    def leave(self) -> Iterator[Pass | None]:
        """Leave to ask the host, for the block; None if it rests or somebody else tries it now."""
        state = self.state()
        if state is State.CLOSED:
            yield Pass(is_probe=False)
        elif state is State.OPEN or (lock := self._prober_lock()) is None:
            yield None
        else:
            granted = Pass(True, lock)
            try:
                yield granted
            finally:
                granted.settle()

    def failed(self, reason: str, *, unreachable: bool, began_at: float) -> Health:
        """Count a failure of a request that began at `began_at`; returns the health now."""
        before = self.health()
        after = after_failure(
            before,
            began_at=began_at,
            now=time.time(),
            unreachable=unreachable,
            reason=reason,
            lot=random.random(),
        )
        if after != before:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path, json.dumps(asdict(after)))
        return after

    def succeeded(self) -> bool:
        """Close it; True if it was not closed, or had failures to forget."""
        # A look costs 20 us; most successes have nothing to forget and write nothing.
        had_failures = self._path.exists()
        self._path.unlink(missing_ok=True)
        return had_failures

    def _prober_lock(self) -> int | None:
        descriptor = os.open(self._folder / "prober.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if self.state() is State.OPEN:  # somebody has tried in between
            os.close(descriptor)
            return None
        return descriptor
