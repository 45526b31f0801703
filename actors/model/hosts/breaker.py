"""The circuit breaker of a host: stops requests to a host that failed. Shared by all processes of a crew.

| state     | when                                                        | who may send a request           |
|-----------|-------------------------------------------------------------|----------------------------------|
| closed    | fewer than `MAX_FAILURES` failures in a row                 | everybody                        |
| open      | unreachable, or that many failures, until `retry_at`        | nobody                           |
| half open | after `retry_at`                                            | one process, holding a lock file |

If the request in the half-open state fails, the breaker opens again for twice as long, up to `OPEN.max_s` and with
jitter. If it succeeds, the breaker closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from store.shared import file_lock
from store.shared.backoff import Backoff
from store.shared.replace import replace_file

MAX_FAILURES = 3
OPEN = Backoff(first_s=0.5, max_s=30.0)


class State(StrEnum):
    """The three states of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Health:
    """The failures of a host since its last success. Times are UTC seconds.

    `openings` counts how often in a row the breaker opened; 0 means that it is closed.
    """

    failures: int = 0
    openings: int = 0
    failed_at: float = 0.0
    retry_at: float = 0.0
    reason: str = ""

    def state(self, now: float) -> State:
        """The state of the breaker at `now`."""
        if not self.openings:
            return State.CLOSED
        # A `retry_at` beyond any pause means that the clock was set back: ignore it.
        is_open = now < self.retry_at <= now + OPEN.longest_s
        return State.OPEN if is_open else State.HALF_OPEN


def after_failure(
    health: Health, *, started_at: float, now: float, unreachable: bool, reason: str, jitter: float
) -> Health:
    """The health after one more failed request, which began at `started_at`. `jitter` is in [0, 1)."""
    if health.openings and started_at < health.failed_at:
        return health  # part of the same outage: requests that fail together count as one failure
    failures = health.failures + 1
    if not (unreachable or health.openings or failures >= MAX_FAILURES):
        return Health(failures, 0, now, 0.0, reason)
    openings = health.openings + 1
    return Health(failures, openings, now, now + OPEN.pause_s(openings, jitter), reason)


@dataclass(slots=True)
class Permit:
    """Permission to send one request.

    `is_probe`: it is the only one while the breaker is half open, until `release` or the end of the request.
    """

    is_probe: bool
    _lock: int | None = None

    def release(self) -> None:
        """Let others send requests; harmless if called again."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class Breaker:
    """The circuit breaker of one host. Keeps nothing in memory, so threads and forks may share it."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the host's folder in the crew's run folder."""
        self._folder = folder
        self._path = folder / "health.json"

    def health(self) -> Health:
        """The failures recorded since the last success."""
        try:
            return Health(**json.loads(self._path.read_text()))
        except (OSError, ValueError, TypeError):
            return Health()

    def state(self) -> State:
        """The state now."""
        return self.health().state(time.time())

    @contextlib.contextmanager
    def permit(self) -> Iterator[Permit | None]:
        """Permission to send a request within the block; None while the breaker is open or another process
        is sending the one request of the half-open state."""
        state = self.state()
        if state is State.CLOSED:
            yield Permit(is_probe=False)
        elif state is State.OPEN or (lock := self._probe_lock()) is None:
            yield None
        else:
            permit = Permit(True, lock)
            try:
                yield permit
            finally:
                permit.release()

    def record_failure(self, reason: str, *, unreachable: bool, started_at: float) -> Health:
        """Count a failed request that began at `started_at`; returns the health after it."""
        before = self.health()
        after = after_failure(
            before,
            started_at=started_at,
            now=time.time(),
            unreachable=unreachable,
            reason=reason,
            jitter=random.random(),
        )
        if after != before:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path, json.dumps(asdict(after)))
        return after

    def record_success(self) -> bool:
        """Close the breaker; True if failures were recorded before."""
        # The check costs 20 us. After most requests there is no file, and nothing is written.
        had_failures = self._path.exists()
        self._path.unlink(missing_ok=True)
        return had_failures

    def _probe_lock(self) -> int | None:
        lock = file_lock.try_acquire(self._folder / "prober.lock")
        if lock is not None and self.state() is State.OPEN:  # another process has probed the host in between
            os.close(lock)
            return None
        return lock
