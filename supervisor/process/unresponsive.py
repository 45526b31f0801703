"""Finds processes that are alive and do not run: stopped by a signal, or keeping the store's write lock.

The supervisor's main thread looks for them and never writes to the store, because the supervisor's other
thread may be waiting for the very lock that such a process keeps.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from store.engine.writers_lock import Signature, holding

STOPPED_LIMIT_S = 5.0
LOCK_LIMIT_S = 5.0

Sign = int | Signature  # the pid of a stopped process, or one holding of the write lock


@dataclass(frozen=True, slots=True)
class Unresponsive:
    """A process that does not run, and what shows it."""

    pid: int
    reason: str


@dataclass(slots=True)
class UnresponsiveSearch:
    """Remembers for each sign since when it has been seen without a break."""

    store: Path
    _since: dict[Sign, float] = field(default_factory=dict)

    def find(self, pids: Iterable[int], now: float) -> list[Unresponsive]:
        """The processes that are unresponsive at `now` (monotonic seconds): those among `pids` that have
        been stopped for too long, and whoever has held the store's write lock for too long.

        The holder of the lock may be a process that is not among `pids`, such as a person's command stopped
        by Ctrl-Z. Takes a microsecond per pid; called once a second.
        """
        stopped: set[Sign] = {pid for pid in pids if is_stopped(pid)}
        holder = holding(self.store)
        signs = stopped if holder is None else stopped | {holder}
        self._since = {sign: self._since.get(sign, now) for sign in signs}
        found = []
        for sign, since in self._since.items():
            seconds = now - since
            if isinstance(sign, Signature):
                if seconds > LOCK_LIMIT_S:
                    found.append(Unresponsive(sign.pid, f"held the store's write lock for {seconds:.0f} s"))
            elif seconds > STOPPED_LIMIT_S:
                found.append(Unresponsive(sign, f"was stopped (SIGSTOP) for {seconds:.0f} s"))
        return found


def is_stopped(pid: int) -> bool:
    """Whether our child `pid` is stopped by SIGSTOP, SIGTSTP or the like; a traced child does not count."""
    with contextlib.suppress(ChildProcessError):
        # WNOWAIT: exits are for the supervisor's other thread.
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    return False
