"""Children that are alive and will not move: stopped by a signal, or asleep on the store's lock.

Looked for by the supervisor's main thread, which never writes to the store: its actor's thread may be
waiting for the very lock that a wedged child holds.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from store.writers_lock import Signature, holding

STOPPED_PATIENCE_S = 5.0
LOCK_PATIENCE_S = 5.0

Sign = int | Signature  # a stopped process's pid, or one holding of the lock


@dataclass(frozen=True, slots=True)
class Wedge:
    """A process that does not move, and how it is seen."""

    pid: int
    reason: str


@dataclass(slots=True)
class Wedges:
    """Remembers since when each sign is seen without a break."""

    store: Path
    _since: dict[Sign, float] = field(default_factory=dict)

    def look(self, pids: Iterable[int], now: float) -> list[Wedge]:
        """The wedged ones at `now` (monotonic seconds): stopped ones among `pids`, and the lock's holder.

        The holder may be nobody's child (a person's command, stopped by Ctrl-Z): then it is for the caller
        to tell. Costs a microsecond a pid; called once a second.
        """
        stopped: set[Sign] = {pid for pid in pids if is_stopped(pid)}
        holder = holding(self.store)
        signs = stopped if holder is None else stopped | {holder}
        self._since = {sign: self._since.get(sign, now) for sign in signs}
        found = []
        for sign, since in self._since.items():
            seconds = now - since
            if isinstance(sign, Signature):
                if seconds > LOCK_PATIENCE_S:
                    found.append(Wedge(sign.pid, f"it has held the store's lock for {seconds:.0f} s"))
            elif seconds > STOPPED_PATIENCE_S:
                found.append(Wedge(sign, f"it has been stopped for {seconds:.0f} s"))
        return found


def is_stopped(pid: int) -> bool:
    """Whether our child `pid` is stopped by SIGSTOP or its like; under a debugger it is not."""
    with contextlib.suppress(ChildProcessError):
        # WNOWAIT: the supervisor's other thread alone takes exits.
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    return False
