"""Delivers signals through a pipe, so that one `select` can wait for signals and sockets."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType


class SignalPipe:
    """A pipe that becomes readable when one of `signals` arrives, or when another thread calls `wake`.

    Handlers do nothing: the interpreter writes a signal's number into the pipe, and the main loop reads it. So the
    code that reacts to a signal runs in that loop, not at an arbitrary instruction.
    """

    def __init__(self, *signals: signal.Signals) -> None:
        """Handle `signals` of this process. Call it once, on the main thread."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, _ignore)

    def fileno(self) -> int:
        """The descriptor to select on for reading."""
        return self._reader

    def wake(self) -> None:
        """Make the pipe readable; from any thread."""
        # A full pipe is readable already.
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"\0")

    def read(self) -> set[int]:
        """The signals that arrived since the last call; empty if there was only a `wake`, or nothing."""
        try:
            return set(os.read(self._reader, 4096)) - {0}
        except BlockingIOError:
            return set()


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing. Without a handler the signal would end the process."""
