"""The merge gate of one project, as an actor: submissions are judged and merged one after the other.

It is a process of its own, so that a long check does not hold up an engineer, and it has a queue, so that
every merge is checked on top of the one before it.
"""

from __future__ import annotations

import time
from pathlib import Path

from actors.disk import DiskWatch
from actors.gate.judgement import Judgement, commit
from actors.gate.judging import Judge
from actors.gate.patience import QA_PATIENCE_S, QaPatience
from actors.gate.records import AT_GATE, Records
from actors.runtime import mailbox
from actors.runtime.context import Effects, Runtime
from actors.runtime.handler import MessageActor
from actors.runtime.messages import AnyMessage, TaskSubmitted, VerdictReported
from actors.work import outcomes, team
from store import crew, inbox, incidents, tasks
from store.engine import Transaction
from store.rows import Message, Project, Task
from store.states import Activity, IncidentKind, ProjectState, Role

TICK_S = 60.0
WAITING_TICK_S = 2.0


class MergeGate(MessageActor):
    """Named `gate.<project>`."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self._records = Records(runtime)
        self._judge = Judge(runtime, self._records, self._project_name)
        self._disk = DiskWatch([runtime.home.path], runtime.config.retention.min_free_mb)
        self._waiting = Activity.IDLE
        self._ticked_at = time.monotonic()
        self._patience = QaPatience(runtime.store, self._project_name)

    @property
    def project(self) -> Project:
        """The project's row, read now."""
        return crew.project(self.store, self._project_name)

    @property
    def _project_name(self) -> str:
        return self.runtime.name.removeprefix("gate.")

    def recover(self) -> None:
        self._disk.paths = [self.runtime.home.path, Path(self.project.repository)]

    def drain(self) -> None:
        """Handle submissions, unless the project is paused or the disk is nearly full: then they wait."""
        waiting = self._reason_to_wait()
        if waiting is not self._waiting:
            with self.write() as tx:
                self._records.set_waiting(tx, waiting)
            self._waiting = waiting
        if waiting is Activity.IDLE:
            super().drain()

    def _reason_to_wait(self) -> Activity:
        """`IDLE` if there is none."""
        if self.project.state == ProjectState.PAUSED:
            return Activity.PAUSED
        return Activity.IDLE if self._disk.check() is None else Activity.NO_SPACE

    def handle(self, message: AnyMessage, row: Message) -> Effects:
        match message:
            case TaskSubmitted(task=task, commit=submitted):
                judgement = self._judge.submission(
                    self.project, tasks.get(self.store, task), submitted, row.id
                )
            case VerdictReported():
                judgement = self._judge.review(self.project, tasks.get(self.store, message.task), message)
            case _:
                return super().handle(message, row)
        return self._effects_of(judgement)

    def _effects_of(self, judgement: Judgement) -> Effects:
        attempts = self.runtime.config.budgets.attempts_per_task
        return lambda tx: commit(tx, self._records, judgement, attempts=attempts)

    def on_retry(self, tx: Transaction) -> None:
        self._records.set_idle(tx)

    def on_dead_letter(self, tx: Transaction, row: Message, reason: str) -> None:
        """Park the task that the message was about: the gate will never answer it."""
        self._records.set_idle(tx)
        task_id = row.task
        if task_id is not None:
            task = tasks.current(tx, task_id)
            if task.state in AT_GATE:
                outcomes.park(tx, task, reason=reason, by=self.runtime.name, now=self.now())

    def tick(self) -> float:
        """Accept tasks for which QA has used up its time without a verdict; returns when to run next."""
        now, ticked_at = self.now(), time.monotonic()
        # A longer interval is a suspended machine or a blocked process, which is not QA's working time.
        elapsed_s, self._ticked_at = min(ticked_at - self._ticked_at, 2 * TICK_S), ticked_at
        project = self.project
        if project.with_qa and project.state == ProjectState.ACTIVE:
            for task in self._patience.spend(elapsed_s):
                self._decide_without_qa(task, now)
        is_waiting = self._waiting is not Activity.IDLE or inbox.claimed(self.store, self.runtime.name)
        return now + (WAITING_TICK_S if is_waiting else TICK_S)

    def _decide_without_qa(self, task: Task, now: float) -> None:
        """Accept the task in QA's place: send the gate a passed verdict, in the same form that QA sends."""
        name = self.runtime.name
        verdict = VerdictReported(
            task=task.id,
            candidate=task.candidate_commit,
            passed=True,
            findings=f"No verdict in {QA_PATIENCE_S / 60:.0f} minutes of work; the checks alone decided.",
        )
        with self.write() as tx:
            incidents.record(
                tx,
                IncidentKind.VERDICT_MISSING,
                now=now,
                agent=team.member(task.project, Role.QA),
                project=task.project,
                task=task.id,
            )
            # No idempotency key: QA may be silent about a second submission of the task as well.
            mailbox.post(tx, name, name, verdict, now=now)
