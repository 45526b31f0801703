"""A wall clock that a drill can set, for the processes of its own crew alone.

The machine's clock belongs to everybody on it. So a drill gives its crew a file of two numbers,

    _NIGHTCREW_CLOCK=FILE        seconds to add to the wall clock, and to the clock that counts sleep

and every process of that crew, armed at its start, reads them at each look at the time. What is simulated
is what a process sees of the time; timeouts of the kernel (select, poll) and SQLite's are the real ones.
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
    """The drill's end of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall_s = self.slept_s = 0.0
        self._write()

    def jump(self, seconds: float) -> None:
        """The wall clock was set, forward or back."""
        self.wall_s += seconds
        self._write()

    def sleep(self, seconds: float) -> None:
        """The machine was away: both clocks go on, that of the waking time does not."""
        self.wall_s += seconds
        self.slept_s += seconds
        self._write()

    def _write(self) -> None:
        with open(self.path, "r+b" if self.path.exists() else "w+b") as file:
            file.write(_OFFSETS.pack(self.wall_s, self.slept_s))


def arm(environment: Mapping[str, str]) -> Callable[[], None]:
    """If a drill asks for it, replace this process's clocks, and so its forks'; returns the undoing.

    Called before the modules that use a clock are imported, as a default argument keeps the old one.
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
    """The environment of a crew that lives by `clock`."""
    return {**os.environ, VARIABLE: str(clock.path)}
