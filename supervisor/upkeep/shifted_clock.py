"""A wall clock that a drill can set for the processes of its own crew.

The machine's clock is shared with other programs. So a drill gives its crew a file with two numbers, which
each process of the crew adds whenever it reads the time:

    _NIGHTCREW_CLOCK=FILE        seconds to add to the wall clock, and to the clock that includes sleep

Only Python's view of the time is simulated. Timeouts of the kernel (select, poll) and of SQLite are real.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

VARIABLE = "_NIGHTCREW_CLOCK"
_OFFSETS = struct.Struct("dd")


class ShiftedClock:
    """Writes the file of offsets; used by the drill."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall_s = self.slept_s = 0.0
        self._write()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back by negative `seconds`."""
        self.wall_s += seconds
        self._write()

    def sleep(self, seconds: float) -> None:
        """Sleep: the wall clock and the clock that includes sleep advance, the time awake does not."""
        self.wall_s += seconds
        self.slept_s += seconds
        self._write()

    def _write(self) -> None:
        with open(self.path, "r+b" if self.path.exists() else "w+b") as file:
            file.write(_OFFSETS.pack(self.wall_s, self.slept_s))


def arm(environment: Mapping[str, str]) -> Callable[[], None]:
    """Replace the clocks of this process and its forks if `environment` names a file; returns the undo function.

    Call it before importing modules that use a clock: a default argument would keep the real one.
    """
    undo = ExitStack()
    if VARIABLE in environment:
        with open(environment[VARIABLE], "rb") as file:
            offsets = mmap.mmap(file.fileno(), _OFFSETS.size, access=mmap.ACCESS_READ)
        real_time, real_gettime = time.time, time.clock_gettime
        boottime = getattr(time, "CLOCK_BOOTTIME", None)

        def shifted_time() -> float:
            return real_time() + float(_OFFSETS.unpack_from(offsets)[0])

        def shifted_gettime(clock: int) -> float:
            slept_s = float(_OFFSETS.unpack_from(offsets)[1]) if clock == boottime else 0.0
            return real_gettime(clock) + slept_s

        time.time, time.clock_gettime = shifted_time, shifted_gettime
        undo.callback(setattr, time, "time", real_time)
        undo.callback(setattr, time, "clock_gettime", real_gettime)
    return undo.close


def environment_for(clock: ShiftedClock) -> dict[str, str]:
    """The environment of a crew that uses `clock`."""
    return {**os.environ, VARIABLE: str(clock.path)}
