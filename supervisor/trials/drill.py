"""`nightcrew drill`: injects faults at random into a crew that works without a pause, then audits it.

Model and projects are scripted. Supervisor, agents, sandbox, git, gate and tmux are real. Clock jumps and
suspends are simulated for the crew's own processes (`upkeep/shifted_clock.py`). As root, the home is on a small
tmpfs that can be filled; commits then do not wait for a disk.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from actors.home import Home
from store import history, tasks, timers
from store.engine import Store
from store.entries import ReplyBody, ToolResultBody
from store.errors import StoreUnwritable
from store.states import TaskState
from supervisor.trials.audit import audit
from supervisor.trials.drill_faults import Faults, Recoveries
from supervisor.trials.drill_outcome import Outcome, percentile
from supervisor.trials.drill_stage import Stage, count_runs

MEAN_PAUSE_S = 0.35
POLL_S = 0.003
WORK_INTERVAL_S = 0.25
IDLE_TIMEOUT_S = 120.0
# The texts of results of commands that a kill, or the end of the supervisor, interrupted.
INTERRUPTED = ("Outcome unknown", "the call was cancelled", "the agent was restarted")
Report = Callable[[str], None]  # gets lines of progress for people


@dataclass(frozen=True, slots=True)
class Plan:
    """When to stop: after `minutes` or `kills` SIGKILLs, whichever comes first. None means no limit."""

    seed: int
    minutes: float | None = 1.0
    kills: int | None = None


def drill(home: Path, plan: Plan, *, keep: bool = False, report: Report = print) -> Outcome:
    """Run the drill in a folder of its own inside `home`. It is removed at the end, unless `keep` or a failure."""
    started = time.monotonic()
    Home(home).make()
    stage = Stage(home / "drill" / f"{int(time.time())}-{os.getpid()}")
    stage.folder.mkdir(parents=True, mode=0o700)
    outcome = Outcome(plan.seed, folder=str(stage.folder))
    finished = False
    try:
        stage.open()
        try:
            _Drill(stage, plan, outcome, report).run()
        finally:
            stage.close()
        _judge(stage, outcome)
        finished = True
    finally:
        outcome.seconds = round(time.monotonic() - started, 1)
        if finished and outcome.ok and not keep:
            stage.remove()
            outcome.folder = ""
            if not any((home / "drill").iterdir()):
                (home / "drill").rmdir()
    return outcome


class _Drill:
    """Runs the crew and injects faults, from the first project until the crew is idle."""

    def __init__(self, stage: Stage, plan: Plan, outcome: Outcome, report: Report) -> None:
        self.stage = stage
        self.plan = plan
        self.outcome = outcome
        self.report = report
        self.recoveries = Recoveries(stage.store)
        self.faults = Faults(stage, random.Random(plan.seed), self.recoveries)
        self.pauses = random.Random(plan.seed + 1)

    def run(self) -> None:
        self.report(f"Drill with a scripted model and real kills, seed {self.plan.seed}.")
        self.stage.nightcrew("up")
        self._inject_faults()
        self.faults.undo_due(everything=True)
        self.report(f"{self.faults.kills} kills. Waiting until the crew is idle.")
        self._wait_until_idle()
        self._collect()

    def _inject_faults(self) -> None:
        began_at = time.monotonic()
        fault_at, busy_at, report_at = began_at + 2.0, began_at, began_at + 15
        while not self._is_enough(time.monotonic() - began_at):
            now = time.monotonic()
            self.faults.undo_due()
            if now >= busy_at:
                busy_at = now + WORK_INTERVAL_S
                self._keep_busy()
            self.recoveries.poll()
            if now >= fault_at:
                self.faults.inject()
                fault_at = time.monotonic() + self.pauses.expovariate(1 / MEAN_PAUSE_S)
            if now >= report_at:
                report_at = now + 15
                self.report(f"  {self.faults.kills} kills, {self.stage.projects} projects")
            time.sleep(POLL_S)

    def _is_enough(self, seconds: float) -> bool:
        if self.plan.kills is not None and self.faults.kills >= self.plan.kills:
            return True
        return self.plan.minutes is not None and seconds >= self.plan.minutes * 60

    def _keep_busy(self) -> None:
        with suppress(StoreUnwritable):  # the disk is full; tried again at the next call
            self.stage.keep_busy()

    def _wait_until_idle(self) -> None:
        deadline = time.monotonic() + IDLE_TIMEOUT_S
        while time.monotonic() < deadline:
            self.recoveries.poll()
            if self.stage.is_idle() and not self.recoveries.waiting:
                if not self._check_ins_left():
                    break
                self.stage.end_check_ins()
            time.sleep(0.02)
        if self.stage.supervisor_pid() is None:
            self.outcome.findings.append("the supervisor is not running any more")
        if self.stage.config.tmux.enabled and self.faults.done["tmux_server"] and not self.stage.tmux_pid():
            self.outcome.findings.append("the tmux server was killed and was not started again")

    def _check_ins_left(self) -> bool:
        return bool(timers.listed(self.stage.store))

    def _collect(self) -> None:
        outcome, times = self.outcome, self.recoveries
        outcome.kills = self.faults.kills
        outcome.done = dict(sorted(self.faults.done.items()))
        outcome.skipped = sorted(self.faults.skipped)
        outcome.timed = len(times.killed_ms)
        outcome.recovery_ms_p50 = percentile(times.killed_ms, 0.50)
        outcome.recovery_ms_p99 = percentile(times.killed_ms, 0.99)
        outcome.supervisor_ms_p50 = percentile(times.supervisor_ms, 0.50)
        outcome.stopped_ms_p50 = percentile(times.stopped_ms, 0.50)
        outcome.projects = self.stage.projects
        outcome.home_on_tmpfs = self.stage.on_tmpfs
        outcome.findings += times.late


def _judge(stage: Stage, outcome: Outcome) -> None:
    """Audit the store, the repositories, and the lines that the commands have left."""
    store = stage.store = Store(stage.home.store)
    try:
        found = audit(store)
        lost, doubled = _traces(stage)
        rows = tasks.listed(store)
        lost += [f"task {r.id} of {r.project} was parked" for r in rows if r.state == TaskState.PARKED]
        outcome.merged = sum(row.state == TaskState.MERGED for row in rows)
        query = "SELECT count(*) FROM intents WHERE state='unknown'"
        outcome.unknown_outcomes = int(store.read().exec_driver_sql(query).scalar_one())
        outcome.lost = len(found.lost) + len(lost)
        outcome.doubled = len(found.doubled) + len(doubled)
        outcome.stuck = len(found.stuck) + len(outcome.findings)
        outcome.fsck = len(found.fsck)
        outcome.findings += [*found.findings, *lost, *doubled]
    finally:
        store.close()


def _traces(stage: Stage) -> tuple[list[str], list[str]]:
    """Return findings of lost and of duplicated runs of commands.

    Each run leaves one line. The model requests it once per reply. A run may be missing only if its result says
    that it was interrupted.
    """
    asked: dict[int, int] = {}
    doubtful: dict[int, int] = {}
    last = 0
    while entries := history.since(stage.store, last, most=5_000):
        for entry in entries:
            if entry.task is None:
                continue
            if isinstance(entry.body, ReplyBody):
                commands = [str(call.arguments.get("command")) for call in entry.body.calls]
                asked[entry.task] = asked.get(entry.task, 0) + sum("evidence" in line for line in commands)
            elif isinstance(entry.body, ToolResultBody) and any(
                words in entry.body.text for words in INTERRUPTED
            ):
                doubtful[entry.task] = doubtful.get(entry.task, 0) + 1
        last = entries[-1].id
    lost, doubled = [], []
    for row in tasks.listed(stage.store):
        if row.state != TaskState.MERGED:
            continue
        runs = count_runs(stage, row, row.title.split()[-1])
        most = asked.get(row.id, 0)
        if runs > most:
            doubled.append(f"a command of task {row.id} ran {runs} times and was requested {most} times")
        elif runs < most - doubtful.get(row.id, 0):
            lost.append(f"a command of task {row.id} ran {runs} times and was requested {most} times")
    return lost, doubled
