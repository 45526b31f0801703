"""Kills agents that make no progress, and moves their deadlines when a clock jumped."""

from __future__ import annotations

import time

from actors import log
from actors.work import deadlines
from store import crew
from store.engine import Store
from store.rows import Agent
from supervisor.process import records
from supervisor.process.children import Children
from supervisor.upkeep.clock import SleepGap, wall_drift


class Deadlines:
    """Used by the supervisor's thread alone."""

    def __init__(self, store: Store, children: Children) -> None:
        self.store = store
        self.children = children
        self.sleep_gap = SleepGap()
        self.wall_drift = wall_drift()

    def tick(self) -> None:
        """Called once a second. The deadlines are moved first, so that no agent is late because of a jump."""
        self._move_after_jump()
        self._kill_overdue()

    def record_unresponsive(self, name: str, reason: str) -> None:
        """Record that a child was killed because it did not run."""
        self._record(crew.agent(self.store, name), reason)

    def _move_after_jump(self) -> None:
        slept_s, drift_s = self.sleep_gap.measure(), self.wall_drift.drift()
        if slept_s or drift_s:
            log.info("clock_drifted", slept_s=round(slept_s), drift_s=round(drift_s))
            with self.store.write() as tx:
                deadlines.move_deadlines(tx, drift_s, slept_s=slept_s, now=time.time())

    def _kill_overdue(self) -> None:
        """Kill agents without durable progress by their deadline; each resumes where it was."""
        for row in deadlines.overdue_agents(self.store, time.time()):
            if self.children.kill_running(row.name):
                self._record(row, "no progress by its deadline")

    def _record(self, row: Agent, reason: str) -> None:
        log.warning("child_unresponsive", actor=row.name, activity=row.activity, reason=reason)
        records.unresponsive(self.store, row, reason)
