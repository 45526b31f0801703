"""`nightcrew drill`: random SIGKILLs and worse on a crew that works without a pause, then the audit.

The model is scripted and so are the projects; everything else is real: supervisor, agents, sandbox, git,
gate, tmux. The clock jumps and the suspends are simulated for the crew's own processes
(`shifted_clock.py`). With root the crew's home lies on a small tmpfs, so that its disk can be filled; then
no commit waits for a disk, and the times are those of the crew alone.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.home import Home
from store import history, tasks, timers
from store.engine import Store
from store.entries import ReplyBody, ToolResultBody
from store.errors import StoreUnwritable
from store.states import TaskState
from supervisor.trials.audit import audit
from supervisor.trials.drill_harm import Harm, Recoveries
from supervisor.trials.drill_stage import Stage, evidence

MEAN_PAUSE_S = 0.35
LOOK_S = 0.003
BUSY_S = 0.25
REST_PATIENCE_S = 120.0
# What an agent is told of a command that a kill, or the end of its supervisor, has cut short.
CUT_SHORT = ("Outcome unknown", "the call was cancelled", "the agent was restarted")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """Until `minutes` have passed, or until `kills` are done, whichever comes first; None is no limit."""

    seed: int
    minutes: float | None = 1.0
    kills: int | None = None


@dataclass(slots=True)
class Outcome:
    """Counts of findings, and milliseconds from a kill to the actor's being ready again."""

    seed: int
    kills: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    fsck: int = 0
    recovery_ms_p50: float | None = None
    recovery_ms_p99: float | None = None
    done: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    timed: int = 0
    supervisor_ms_p50: float | None = None
    stopped_ms_p50: float | None = None
    projects: int = 0
    merged: int = 0
    unknown_outcomes: int = 0
    findings: list[str] = field(default_factory=list)
    home_on_tmpfs: bool = False
    folder: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        names = ("kills", "lost", "doubled", "stuck", "recovery_ms_p50", "recovery_ms_p99", "fsck")
        rest = [name for name in self.__slots__ if name not in names]
        return {name: getattr(self, name) for name in (*names, *rest)} | {"ok": self.ok}


def drill(home: Path, plan: Plan, *, keep: bool = False, say: Say = print) -> Outcome:
    """Play it in a folder of its own inside `home`: removed at the end, kept if asked or if it failed."""
    started = time.monotonic()
    Home(home).make()
    stage = Stage(home / "drill" / f"{int(time.time())}-{os.getpid()}")
    stage.folder.mkdir(parents=True, mode=0o700)
    outcome = Outcome(plan.seed, folder=str(stage.folder))
    finished = False
    try:
        stage.open()
        try:
            _Drill(stage, plan, outcome, say).play()
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
    """From the first project to the crew's rest."""

    def __init__(self, stage: Stage, plan: Plan, outcome: Outcome, say: Say) -> None:
        self.stage = stage
        self.plan = plan
        self.outcome = outcome
        self.say = say
        self.recoveries = Recoveries(stage.store)
        self.harm = Harm(stage, random.Random(plan.seed), self.recoveries)
        self.pauses = random.Random(plan.seed + 1)

    def play(self) -> None:
        self.say(f"Drill, seed {self.plan.seed}: the model is scripted, the kills are real.")
        self.stage.nightcrew("up")
        self._disturb()
        self.harm.mend_due(everything=True)
        self.say(f"{self.harm.kills} kills. Now the crew may come to rest.")
        self._rest()
        self._sum_up()

    def _disturb(self) -> None:
        began_at = time.monotonic()
        strike_at, busy_at, say_at = began_at + 2.0, began_at, began_at + 15
        while not self._is_enough(time.monotonic() - began_at):
            now = time.monotonic()
            self.harm.mend_due()
            if now >= busy_at:
                busy_at = now + BUSY_S
                self._keep_busy()
            self.recoveries.look()
            if now >= strike_at:
                self.harm.strike()
                strike_at = time.monotonic() + self.pauses.expovariate(1 / MEAN_PAUSE_S)
            if now >= say_at:
                say_at = now + 15
                self.say(f"  {self.harm.kills} kills, {self.stage.projects} projects")
            time.sleep(LOOK_S)

    def _is_enough(self, seconds: float) -> bool:
        if self.plan.kills is not None and self.harm.kills >= self.plan.kills:
            return True
        return self.plan.minutes is not None and seconds >= self.plan.minutes * 60

    def _keep_busy(self) -> None:
        with suppress(StoreUnwritable):  # the disk is full; this is tried again in a moment
            self.stage.keep_busy()

    def _rest(self) -> None:
        deadline = time.monotonic() + REST_PATIENCE_S
        while time.monotonic() < deadline:
            self.recoveries.look()
            if self.stage.at_rest() and not self.recoveries.waiting:
                if not self._check_ins_left():
                    break
                self.stage.end_check_ins()
            time.sleep(0.02)
        if self.stage.supervisor_pid() is None:
            self.outcome.findings.append("the supervisor is not there any more")
        if self.stage.config.tmux.enabled and self.harm.done["tmux_server"] and not self.stage.tmux_pid():
            self.outcome.findings.append("the tmux server was killed and has not come back")

    def _check_ins_left(self) -> bool:
        return bool(timers.listed(self.stage.store))

    def _sum_up(self) -> None:
        outcome, times = self.outcome, self.recoveries
        outcome.kills = self.harm.kills
        outcome.done = dict(sorted(self.harm.done.items()))
        outcome.skipped = sorted(self.harm.skipped)
        outcome.timed = len(times.killed_ms)
        outcome.recovery_ms_p50 = percentile(times.killed_ms, 0.50)
        outcome.recovery_ms_p99 = percentile(times.killed_ms, 0.99)
        outcome.supervisor_ms_p50 = percentile(times.supervisor_ms, 0.50)
        outcome.stopped_ms_p50 = percentile(times.stopped_ms, 0.50)
        outcome.projects = self.stage.projects
        outcome.home_on_tmpfs = self.stage.on_tmpfs
        outcome.findings += times.late


def _judge(stage: Stage, outcome: Outcome) -> None:
    """The audit of store and repositories, and of the traces that the commands have left."""
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
    """A command leaves a line a run. It was asked for once a reply, and may be missing only if the agent
    was told that it was cut short."""
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
                words in entry.body.text for words in CUT_SHORT
            ):
                doubtful[entry.task] = doubtful.get(entry.task, 0) + 1
        last = entries[-1].id
    lost, doubled = [], []
    for row in tasks.listed(stage.store):
        if row.state != TaskState.MERGED:
            continue
        runs = evidence(stage, row, row.title.split()[-1])
        most = asked.get(row.id, 0)
        if runs > most:
            doubled.append(f"a command of task {row.id} ran {runs} times and was asked for {most} times")
        elif runs < most - doubtful.get(row.id, 0):
            lost.append(f"a command of task {row.id} ran {runs} times and was asked for {most} times")
    return lost, doubled


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` of all do not exceed, with one decimal; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)


def summary(outcome: Outcome) -> str:
    """What a person reads at the end."""
    done = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in outcome.done.items())
    lines = [
        "",
        f"{outcome.kills} kills survived, seed {outcome.seed} ({done})",
        f"{outcome.merged} tasks merged in {outcome.projects} projects; "
        f"{outcome.unknown_outcomes} commands told as outcome unknown",
        f"kill -> ready again: p50 {outcome.recovery_ms_p50} ms, p99 {outcome.recovery_ms_p99} ms "
        f"({outcome.timed} timed{', home on tmpfs' if outcome.home_on_tmpfs else ''}); "
        f"supervisor: p50 {outcome.supervisor_ms_p50} ms; stopped: p50 {outcome.stopped_ms_p50} ms",
        f"lost {outcome.lost}, doubled {outcome.doubled}, stuck {outcome.stuck}, "
        f"unsound repositories {outcome.fsck}",
        *(f"  - {finding}" for finding in outcome.findings),
    ]
    if outcome.skipped:
        lines.append(
            f"skipped: {', '.join(outcome.skipped)} (root on Linux alone may fill a small file system)"
        )
    if outcome.folder:
        lines.append(f"kept for a look: {outcome.folder}")
    lines.append(f"{outcome.seconds} s. {'The drill passed.' if outcome.ok else 'The drill FAILED.'}")
    return "\n".join(lines)
