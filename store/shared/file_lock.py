"""Locks between processes. The only module that calls flock.

A lock is an flock on a file, which is created if it is missing and stays when the lock is released. The kernel
releases a lock when the last process that has its descriptor dies or closes it. Descriptors are close-on-exec: a
child process gets one only where it is passed on purpose.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path


def open_file(path: Path) -> int:
    """The descriptor of a lock file, without the lock: for `lock` and `unlock`, which are used again and again."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def lock(descriptor: int) -> None:
    """Wait for the lock, however long. The kernel serves waiters in order."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def unlock(descriptor: int) -> None:
    """Release the lock and keep the descriptor."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def try_acquire(path: Path) -> int | None:
    """The descriptor of the lock at `path`, which this process now holds; None if another holder has it.

    Closing the descriptor releases the lock. Not re-entrant: a second descriptor in one process is another holder.
    """
    descriptor = open_file(path)
    if _try_lock(descriptor, fcntl.LOCK_EX):
        return descriptor
    os.close(descriptor)
    return None


def acquire(path: Path, *, wait_s: float) -> int | None:
    """As `try_acquire`, but wait up to `wait_s` seconds, in order among the waiters."""
    descriptor = open_file(path)
    if _try_lock(descriptor, fcntl.LOCK_EX):
        return descriptor
    if wait_s > 0 and _wait(descriptor, wait_s):
        return descriptor
    if wait_s <= 0:
        os.close(descriptor)
    return None


def is_held(path: Path) -> bool:
    """Whether some process holds the lock at `path`; False if there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared: two processes that only check must not take each other for a holder.
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(descriptor: int, wait_s: float) -> bool:
    """Wait in the kernel's queue, which is fair unlike polling. On a timeout it closes the descriptor later.

    flock has no timeout, and a signal to end it would need the main thread. So another thread waits.
    """
    settled = threading.Lock()
    taken = threading.Event()
    given_up = threading.Event()

    def wait() -> None:
        lock(descriptor)
        with settled:
            if given_up.is_set():
                os.close(descriptor)
            taken.set()

    threading.Thread(target=wait, name="lock-wait", daemon=True).start()
    taken.wait(wait_s)
    with settled:
        if not taken.is_set():
            given_up.set()
    return not given_up.is_set()
