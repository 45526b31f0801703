"""Fair locks between processes for git operations: one per repository, per worktree and per branch.

A lock is an flock on a file in a folder that the caller owns. The kernel frees it when its holder dies and
wakes waiters in the order they came. The descriptor is handed to the git commands run under the lock, so a
git that outlives its killed parent still holds it, and lock files git itself left behind are known to be
stale once the lock is ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

DEFAULT_WAIT_S = 300.0


class LockTimeoutError(Exception):
    """A lock was not free in time; the text names what was waited for and the lock's file."""


@contextlib.contextmanager
def hold(locks: Path, kind: str, subject: Path | str, *, wait_s: float = DEFAULT_WAIT_S) -> Iterator[int]:
    """Hold the lock of `subject` (a git folder, worktree or branch); yields its descriptor.

    `locks` is made if missing. Not re-entrant: a second hold by the same process waits like any other's.
    """
    locks.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest = hashlib.sha256(os.fsencode(str(subject))).hexdigest()[:20]
    path = locks / f"{kind}-{digest}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _taken_at_once(descriptor) and not _taken_in_turn(descriptor, wait_s):
        raise LockTimeoutError(
            f"waited {wait_s:g} s for the {kind} {subject}, which another process holds ({path}); "
            "see which with `fuser` on that file, or try again."
        )
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _taken_at_once(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _taken_in_turn(descriptor: int, wait_s: float) -> bool:
    """Wait in the kernel's queue, which is fair; polling would starve. Owns the descriptor if it gives up."""
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
