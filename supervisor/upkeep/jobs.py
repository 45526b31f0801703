"""The supervisor's helper processes: one keeps the machine awake, one does the nightly housekeeping.

Both are processes of their own, and no method here waits for one that is still running.
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
from actors.work.timer import next_cron
from store import crew, facts
from store.engine import Store
from store.facts import Fact
from supervisor.upkeep.inhibit import Inhibition, Inhibitor

NIGHTLY = "30 4 * * *"  # local time: late at night, so that the backup contains most of the night's work
CHECK_INTERVAL_S = 5.0
LAST_START_FACT = Fact[float]("housekeeping_started")


class Jobs:
    """Used by the supervisor's thread alone."""

    def __init__(self, home: Home, config: Config, store: Store) -> None:
        self.store = store
        self.inhibitor = Inhibitor(config.supervisor.inhibit_sleep)
        self.housekeeping = Nightly(home, config, store)
        self._inhibition: Inhibition | None = None
        self._check_at = 0.0

    @property
    def pids(self) -> set[int]:
        """The pids of the helper processes. They are children of the supervisor and not actors."""
        return {pid for pid in (self.inhibitor.pid, self.housekeeping.pid) if pid is not None}

    def tick(self, now: float) -> None:
        """Start and stop the jobs as needed. `now` in monotonic seconds; called at each tick."""
        self.housekeeping.reap_ended()
        if now < self._check_at:
            return
        self._check_at = now + CHECK_INTERVAL_S
        found = self.inhibitor.tick(wanted=crew.is_active(self.store), now=now)
        if found != self._inhibition:
            self._record(found)
        self.housekeeping.start_if_due(time.time())

    def stop(self) -> None:
        """End both jobs, at the end of the shutdown; a second call is harmless."""
        self.inhibitor.release()
        self.housekeeping.kill()

    def _record(self, found: Inhibition) -> None:
        level = log.info if found.sleep_inhibited or self._inhibition is None else log.warning
        level("sleep_inhibition", inhibited=found.sleep_inhibited, reason=found.reason)
        with self.store.write() as tx:
            facts.put(tx, facts.SLEEP, found.as_json(), now=time.time())
        self._inhibition = found


@dataclass(slots=True)
class Nightly:
    """Starts the housekeeping process once a night. If the machine sleeps at that time, it starts after waking."""

    home: Home
    config: Config
    store: Store
    _process: subprocess.Popen[bytes] | None = None
    _due_at: float | None = field(default=None)

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start_if_due(self, now: float) -> None:
        """`now` in UTC seconds. The start is recorded first, so that a failing run is not repeated at once."""
        if self._due_at is None:
            self._due_at = self._next_due(now)
        if now < self._due_at or self._process is not None:
            return
        with self.store.write() as tx:
            facts.put(tx, LAST_START_FACT, now, now=now)
        self._due_at = None
        module = "supervisor.upkeep.housekeeping"
        with (self.home.logs / "housekeeping.stderr").open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(self.home.path), self.config.to_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                cwd=Path(__file__).resolve().parents[2],
            )

    def reap_ended(self) -> None:
        """Reap the process if it has ended."""
        if self._process is not None and self._process.poll() is not None:
            self._reap(self._process)

    def kill(self) -> None:
        """Kill a running process. Its transactions and copies are all or nothing, so nothing is left half done."""
        if self._process is not None:
            self._process.kill()
            self._reap(self._process)

    def _next_due(self, now: float) -> float:
        """The first nightly time after the last start. A new crew counts as started now."""
        last = facts.get(self.store, LAST_START_FACT)
        if last is None:
            last = now
            with self.store.write() as tx:
                facts.put(tx, LAST_START_FACT, now, now=now)
        due_at = next_cron(NIGHTLY, None, min(float(last), now))
        assert due_at is not None
        return due_at

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        assert process.stdin is not None
        process.stdin.close()
        if code > 0:
            log.error("housekeeping_crashed", code=code, stderr=str(self.home.logs / "housekeeping.stderr"))
        self._process = None
