"""Finds processes that are alive but blocked: stopped by a signal, or holding the store's write lock for too long.

The supervisor's main thread searches for them and never writes to the store, because the supervisor's other
thread may be waiting for the lock that such a process holds.
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

Symptom = int | Signature  # the pid of a stopped process, or one acquisition of the write lock


@dataclass(frozen=True, slots=True)
class Unresponsive:
    """An unresponsive process, and the reason for calling it so."""

    pid: int
    reason: str


@dataclass(slots=True)
class UnresponsiveSearch:
    """Remembers since when each symptom has been observed without interruption."""

    store: Path
    _since: dict[Symptom, float] = field(default_factory=dict)

    def find(self, pids: Iterable[int], now: float) -> list[Unresponsive]:
        """The processes that are unresponsive at `now` (monotonic seconds): those among `pids` that have
        been stopped for too long, and whoever has held the store's write lock for too long.

        The holder of the lock may be a process that is not among `pids`, such as a person's command stopped
        by Ctrl-Z. Takes a microsecond per pid; called once a second.
        """
        stopped: set[Symptom] = {pid for pid in pids if is_stopped(pid)}
        holder = holding(self.store)
        symptoms = stopped if holder is None else stopped | {holder}
        self._since = {symptom: self._since.get(symptom, now) for symptom in symptoms}
        found = []
        for symptom, since in self._since.items():
            seconds = now - since
            if isinstance(symptom, Signature):
                if seconds > LOCK_LIMIT_S:
                    found.append(
                        Unresponsive(symptom.pid, f"held the store's write lock for {seconds:.0f} s")
                    )
            elif seconds > STOPPED_LIMIT_S:
                found.append(Unresponsive(symptom, f"was stopped (SIGSTOP) for {seconds:.0f} s"))
        return found


def is_stopped(pid: int) -> bool:
    """Whether our child `pid` is stopped by SIGSTOP, SIGTSTP or the like; a traced child does not count."""
    with contextlib.suppress(ChildProcessError):
        # WNOWAIT: exits are for the supervisor's other thread.
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    return False
