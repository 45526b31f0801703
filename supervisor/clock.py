"""Noticing that the machine slept: a clock that counts sleep has run ahead of one that does not."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

LEAST_GAP_S = 5.0


def _awake_s() -> float:
    return time.monotonic()


def _elapsed_s() -> float:
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time()  # macOS: its monotonic clock stops in sleep, the wall clock does not


@dataclass(slots=True)
class SleepGap:
    """Remembers the difference of the two clocks; both can be injected."""

    awake_s: Callable[[], float] = _awake_s
    elapsed_s: Callable[[], float] = _elapsed_s
    _difference_s: float | None = field(default=None)

    def measure(self) -> float:
        """Seconds slept since the last call, 0.0 if none worth the name."""
        difference_s = self.elapsed_s() - self.awake_s()
        before_s = self._difference_s
        self._difference_s = difference_s
        if before_s is None or difference_s - before_s < LEAST_GAP_S:
            return 0.0
        return difference_s - before_s
