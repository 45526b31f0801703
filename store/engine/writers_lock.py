"""The lock that serialises the writers of all processes, and a record of its current holder.

A process that is stopped in the middle of a transaction (SIGSTOP, a debugger, a broken disk) blocks all writers.
Therefore each holder writes its pid and the time into the lock's file. The supervisor's main thread, which never
writes to the store, notices a holder that does not change and kills it (`supervisor/process/unresponsive.py`).
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
    """Who acquired the lock, and when on the monotonic clock. No two are equal."""

    pid: int
    since_ns: int


def lock_path(store: Path) -> Path:
    """The lock's file, beside the store's."""
    return store.with_suffix(".lock")


class WritersLock:
    """A flock, which the kernel grants in order of arrival. One per open store; not reentrant."""

    def __init__(self, store: Path) -> None:
        self._file = file_lock.open_file(lock_path(store))
        self._pid = os.getpid()

    def acquire(self) -> None:
        """Wait for the lock without a limit, then write pid and time into its file."""
        file_lock.lock(self._file)
        # The text has a fixed width, so that a reader never sees a part of a longer one. It is not synced, because
        # no process holds the lock after a power loss. On a full disk it is missing, but the lock is held.
        with contextlib.suppress(OSError):
            os.pwrite(self._file, b"%010d %020d\n" % (self._pid, time.monotonic_ns()), 0)

    def release(self) -> None:
        """Release the lock. The next writer in the queue gets it."""
        file_lock.unlock(self._file)

    def close(self) -> None:
        """Close the file; a second close is harmless."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def holding(store: Path) -> Signature | None:
    """The current holder of the lock; None if it is free or cannot be read. Does not wait."""
    with contextlib.suppress(OSError, ValueError):
        if file_lock.is_held(path := lock_path(store)):
            pid, since_ns = path.read_bytes().split()
            return Signature(int(pid), int(since_ns))
    return None
