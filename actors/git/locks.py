"""Locks between processes for git operations: one per repository, per worktree and per branch.

A lock is an flock on a file in the crew's `locks` folder. The kernel releases it when its holder dies, and
serves waiters in order. git commands run under a lock inherit its descriptor. So a git that outlives its killed
parent still holds the lock, and whoever gets the lock knows that lock files of git's own are stale.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from actors.git.errors import LockTimeoutError

DEFAULT_WAIT_S = 300.0


@contextlib.contextmanager
def hold(locks: Path, kind: str, subject: Path | str, *, wait_s: float = DEFAULT_WAIT_S) -> Iterator[int]:
    """Hold the lock of `subject` (a git folder, worktree or branch); yields the lock's descriptor.

    Creates the folder `locks` if it is missing. Not re-entrant: a second `hold` in the same process waits, too.
    Raises `LockTimeoutError` after `wait_s` seconds.
    """
    locks.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest = hashlib.sha256(os.fsencode(str(subject))).hexdigest()[:20]
    path = locks / f"{kind}-{digest}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _try_lock(descriptor) and not _wait_for_lock(descriptor, wait_s):
        raise LockTimeoutError(
            f"another process held the lock of the {kind} {subject} for more than {wait_s:g} s; "
            f"find that process with `fuser {path}`, or try again."
        )
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_lock(descriptor: int, wait_s: float) -> bool:
    """Wait in the kernel's queue, which is fair unlike polling. On a timeout it closes the descriptor later."""
    settled = threading.Lock()
    taken = threading.Event()
    given_up = threading.Event()

    def wait() -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with settled:
            if given_up.is_set():
                os.close(descriptor)
            taken.set()

    threading.Thread(target=wait, name="lock-wait", daemon=True).start()
    taken.wait(wait_s)
    with settled:
        if not taken.is_set():
            given_up.set()
    return taken.is_set() and not given_up.is_set()
