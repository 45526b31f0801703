"""What the supervisor sees to beside its children: the machine stays awake, and the night is kept.

Both are processes of their own; nothing here waits for them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from actors import log
from actors.home import Home
from actors.settings import Config
from store import crew, incidents
from store.engine import Store
from supervisor.upkeep.inhibit import Inhibition, Inhibitor

NIGHTLY = "30 4 * * *"  # local time: late enough that a night's work is in the copy
LOOK_S = 5.0
SLEEP_FACT = "sleep"
_LAST = "keeper_started"


@dataclass(slots=True)
class Chores:
    """Used by the supervisor's thread alone."""

    home: Home
    config: Config
    store: Store
    inhibitor: Inhibitor = field(init=False)
    _inhibition: Inhibition | None = None
    _keeper: subprocess.Popen[bytes] | None = None
    _look_at: float = 0.0
    _keep_at: float | None = None

    def __post_init__(self) -> None:
        self.inhibitor = Inhibitor(self.config.supervisor.inhibit_sleep)

    @property
    def pids(self) -> set[int]:
        """Children of the supervisor that are not actors."""
        keeper = None if self._keeper is None else self._keeper.pid
        return {pid for pid in (self.inhibitor.pid, keeper) if pid is not None}

    def tick(self, now: float) -> None:
        """`now` in monotonic seconds; called with each of the supervisor's ticks."""
        if self._keeper is not None and self._keeper.poll() is not None:
            self._bury_keeper()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        found = self.inhibitor.tick(wanted=crew.is_active(self.store), now=now)
        if found != self._inhibition:
            self._say(found)
        self._keep_if_due(time.time())

    def end(self) -> None:
        """At the end of an ordered shutdown; a second end is harmless."""
        self.inhibitor.release()
        if self._keeper is not None:
            self._keeper.kill()
            self._bury_keeper()

    def _say(self, found: Inhibition) -> None:
        level = log.info if found.sleep_inhibited or self._inhibition is None else log.warning
        level("sleep_inhibition", inhibited=found.sleep_inhibited, reason=found.reason)
        with self.store.write() as tx:
            incidents.set_fact(tx, SLEEP_FACT, found.as_json(), now=time.time())
        self._inhibition = found

    def _keep_if_due(self, now: float) -> None:
        if self._keep_at is None:
            self._keep_at = self._next_night(now)
        if now < self._keep_at or self._keeper is not None:
            return
        with self.store.write() as tx:
            incidents.set_fact(tx, _LAST, now, now=now)
        self._keep_at = None
        words = [sys.executable, "-m", "supervisor.upkeep.keeper", str(self.home.path), self.config.to_json()]
        with (self.home.logs / "keeper.stderr").open("ab") as stderr:
            self._keeper = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                cwd=Path(__file__).resolve().parents[2],
            )

    def _next_night(self, now: float) -> float:
        """The first one since the keeper was last started: one that was slept through is made up for."""
        from actors.work.timer import next_cron

        last = incidents.fact(self.store, _LAST)
        if last is None:
            last = now
            with self.store.write() as tx:
                incidents.set_fact(tx, _LAST, now, now=now)
        due_at = next_cron(NIGHTLY, None, min(float(last), now))
        assert due_at is not None
        return due_at

    def _bury_keeper(self) -> None:
        assert self._keeper is not None
        code = self._keeper.wait()
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        if code > 0:
            log.error("keeper_failed", code=code, said=str(self.home.logs / "keeper.stderr"))
        self._keeper = None
