"""Detects that the machine slept or its clock was set, by comparing two clocks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

MIN_GAP_S = 5.0


def _awake_s() -> float:
    return time.monotonic()


def _elapsed_s() -> float:
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time()  # macOS: its monotonic clock stops in sleep, the wall clock does not


def _wall_s() -> float:
    return time.time()  # looked up at each call, because a drill replaces it


@dataclass(slots=True)
class SleepGap:
    """Remembers the difference of two clocks. Tests pass clocks of their own."""

    awake_s: Callable[[], float] = _awake_s
    elapsed_s: Callable[[], float] = _elapsed_s
    _difference_s: float | None = field(default=None)

    def measure(self) -> float:
        """Seconds slept since the last call; 0.0 for less than `MIN_GAP_S`."""
        return max(0.0, self.drift())

    def drift(self) -> float:
        """Seconds by which `elapsed_s` ran ahead of `awake_s` since the last call; negative if it fell behind."""
        difference_s = self.elapsed_s() - self.awake_s()
        before_s = self._difference_s
        self._difference_s = difference_s
        if before_s is None or abs(difference_s - before_s) < MIN_GAP_S:
            return 0.0
        return difference_s - before_s


def wall_drift() -> SleepGap:
    """Compares the wall clock with the time awake. The drift is the error of all times in the store, after a
    sleep and after the clock was set."""
    return SleepGap(_awake_s, _wall_s)
