"""The lock that writers of all processes queue on, and who holds it since when.

A process that was stopped (SIGSTOP, a debugger, a dead disk) in the middle of a transaction holds up
everybody's writes. So each holder signs the lock's file with its pid and the instant, and the supervisor's
main thread, which never writes, can see that nothing has moved and end it (`supervisor/process/unresponsive.py`).
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from store.shared import file_lock


@dataclass(frozen=True, slots=True)
class Signature:
    """One holding of the lock: no two are equal, as `since_ns` (monotonic) differs."""

    pid: int
    since_ns: int


def lock_path(store: Path) -> Path:
    """The lock's file, beside the store's."""
    return store.with_suffix(".lock")


class WritersLock:
    """A flock, which the kernel hands on in order of arrival. One per open store; not reentrant."""

    def __init__(self, store: Path) -> None:
        self._file = file_lock.open_file(lock_path(store))
        self._pid = os.getpid()

    def acquire(self) -> None:
        """Wait for it, however long, and sign."""
        file_lock.lock(self._file)
        # Of fixed width, so that a reader never sees half of a longer one. Not synced: after a power
        # loss nobody holds the lock. On a full disk it stays unsigned, and is held all the same.
        with contextlib.suppress(OSError):
            os.pwrite(self._file, b"%010d %020d\n" % (self._pid, time.monotonic_ns()), 0)

    def release(self) -> None:
        file_lock.unlock(self._file)

    def close(self) -> None:
        """A second close is harmless."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def holding(store: Path) -> Signature | None:
    """Who holds the lock now; None if nobody does, or nobody knows. Waits for nothing."""
    with contextlib.suppress(OSError, ValueError):
        if file_lock.is_held(path := lock_path(store)):
            pid, since_ns = path.read_bytes().split()
            return Signature(int(pid), int(since_ns))
    return None
