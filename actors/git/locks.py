"""Locks between processes for git operations: one per repository, per worktree and per branch.

A lock is a file in the crew's `locks` folder, which the kernel unlocks when its holder dies. git commands run under
a lock inherit its descriptor. So a git that outlives its killed parent still holds the lock, and whoever gets the
lock knows that lock files of git's own are stale.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from actors.git.errors import LockTimeoutError
from store.shared import file_lock

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
    descriptor = file_lock.acquire(path, wait_s=wait_s)
    if descriptor is None:
        raise LockTimeoutError(
            f"another process held the lock of the {kind} {subject} for more than {wait_s:g} s; "
            f"find that process with `fuser {path}`, or try again."
        )
    try:
        yield descriptor
    finally:
        os.close(descriptor)
