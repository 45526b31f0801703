"""The gate of one project as an actor: submissions are judged and merged one after the other.

Its own process, so that a long check holds up no engineer, and a queue, so that every merge is checked
against the one before it. Everything it does outside the store may be repeated (`gate.py`).
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from actors import log
from actors.disk import DiskWatch
from actors.environment.project import kept_environment
from actors.errors import Interrupted, MessageUnexpected
from actors.gate import merging
from actors.gate.checks import CheckReport, report_from_json
from actors.gate.merging import GateResult
from actors.gate.patience import QA_PATIENCE_S, QaPatience
from actors.gate.runner import SandboxedChecks
from actors.git.refs import head_of
from actors.git.repository import open_repository
from actors.runtime import mailbox
from actors.runtime.actor import Effects, Runtime, nothing
from actors.runtime.messages import AnyMessage, ReviewRequested, TaskSubmitted, VerdictReported
from actors.runtime.retries import PatientActor
from actors.work import assignment
from store import crew, facts, history, inbox, incidents, tasks
from store.engine import Transaction
from store.entries import NoteBody
from store.rows import Message, Project, Task
from store.shared.ref_names import task_label
from store.states import Activity, GateVerdict, ProjectState, Role, TaskState

OURS = frozenset({TaskState.SUBMITTED, TaskState.CHECKING})
ALIVE = frozenset({ProjectState.ACTIVE, ProjectState.PAUSED})
LOOK_S = 60.0
WAITING_LOOK_S = 2.0


class MergeQueue(PatientActor):
    """Named `gate.<project>`."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        project = runtime.name.removeprefix("gate.")
        self._run_check = SandboxedChecks(
            runtime.config,
            runtime.home.path,
            self.coupling.stopping,
            lambda: kept_environment(runtime.store, project),
        )
        self._room = DiskWatch([runtime.home.path], runtime.config.retention.min_free_mb)
        self._rests_as = Activity.IDLE
        self._looked_at = time.monotonic()
        self._patience = QaPatience(runtime.store, runtime.name.removeprefix("gate."))

    def recover(self) -> None:
        self._room.paths = [self.runtime.home.path, Path(self.project.repository)]

    def drain(self) -> None:
        """A merge takes room, and a paused project has none made; submissions wait in the mailbox."""
        rests_as = Activity.IDLE
        if self.project.state == ProjectState.PAUSED:
            rests_as = Activity.PAUSED
        elif self._room.check() is not None:
            rests_as = Activity.NO_SPACE
        if rests_as != self._rests_as:
            with self.write() as tx:
                self._rest(tx, rests_as)
            self._rests_as = rests_as
        if rests_as is Activity.IDLE:
            super().drain()

    @property
    def project(self) -> Project:
        return crew.project(self.store, self.runtime.name.removeprefix("gate."))

    def handle(self, message: AnyMessage, row: Message) -> Effects:
        match message:
            case TaskSubmitted(task=task_id, commit=commit):
                effects = self._judge_submission(tasks.get(self.store, task_id), commit, row.id)
            case VerdictReported():
                effects = self._on_verdict(tasks.get(self.store, message.task), message)
            case _:
                raise MessageUnexpected(f"the gate does not handle {message.kind}")

        def settled(tx: Transaction) -> None:
            effects(tx)
            self.setbacks.drop(tx, row.id, now=self.now())

        return settled

    def on_put_off(self, tx: Transaction) -> None:
        self._idle(tx)

    # -- submissions ---------------------------------------------------------------------------

    def _judge_submission(self, task: Task, commit: str, submission: int) -> Effects:
        if task.submitted_commit != commit or task.state not in OURS:
            return nothing
        project = self.project
        if not self._begin(task, project):
            return self._idle
        started_at = self.now()
        result = self._evaluate(project, task, commit)
        if project.with_qa and result.verdict in (GateVerdict.PASSED, GateVerdict.UNVERIFIED):
            return self._ask_qa(project, task, result, started_at, submission)
        return self._settle(project, task, result, started_at)

    def _begin(self, task: Task, project: Project) -> bool:
        """From SUBMITTED to CHECKING, with a deadline for the whole run; False if nobody waits for it now."""
        seconds = (2 * len(project.checks) + 1) * self.runtime.config.work.check_timeout_s + 300.0
        with self.write() as tx:
            now = self.now()
            if not self._may_go_on(tx, task):
                return False
            if tasks.current(tx, task.id).state == TaskState.SUBMITTED:
                tasks.move(
                    tx,
                    task.id,
                    TaskState.CHECKING,
                    by=self.runtime.name,
                    reason="checks run",
                    now=now,
                    candidate_commit=None,  # an older submission's
                )
                self._note(tx, f"task {task.id}: checking {(task.submitted_commit or '')[:10]}")
            crew.change_agent(
                tx,
                self.runtime.name,
                activity=Activity.TOOL,
                activity_since=now,
                deadline_at=now + seconds,
                task=task.id,
            )
        return True

    def _may_go_on(self, tx: Transaction, task: Task) -> bool:
        """Whether it is still wanted; of a project that is paused it stays in hand (`Interrupted`)."""
        if crew.project(tx, task.project).state == ProjectState.PAUSED:
            raise Interrupted(f"{task.project} was paused")
        return _is_wanted(tx, task)

    def _if_wanted(self, task: Task, effects: Effects) -> Effects:
        """`effects`, or none if by their commit nobody waits for them any more."""
        return lambda tx: effects(tx) if _is_wanted(tx, task) else self._idle(tx)

    def _evaluate(self, project: Project, task: Task, commit: str) -> GateResult:
        repository = open_repository(Path(project.repository))
        result = merging.evaluate(
            repository,
            integration=project.branch,
            commit=commit,
            message=_merge_message(task),
            commands=project.checks,
            run=self._run_check,
            scratch=self.runtime.home.scratch(project.name),
            locks=self.runtime.home.locks,
            base=self._known_base(project.name),
            timeout_s=self.runtime.config.work.check_timeout_s,
            needs_progress=task.role not in (Role.WRITER, Role.RESEARCHER),
        )
        if self.coupling.stopping.is_set():
            # A check that was ended with us says nothing about the work.
            raise Interrupted(f"{self.runtime.name} was asked to stop during the checks")
        return result

    def _known_base(self, project: str) -> CheckReport | None:
        known = facts.get(self.store, f"base:{project}")
        return None if known is None else report_from_json(known)

    # -- QA ------------------------------------------------------------------------------------

    def _ask_qa(
        self,
        project: Project,
        task: Task,
        result: GateResult,
        started_at: float,
        submission: int,
    ) -> Effects:
        def effects(tx: Transaction) -> None:
            now = self.now()
            candidate = result.candidate or ""
            self._record(tx, task, result, started_at)
            tasks.amend(tx, task.id, now=now, candidate_commit=candidate)
            mailbox.post(
                tx,
                self.runtime.name,
                assignment.member(project.name, Role.QA),
                ReviewRequested(task=task.id, candidate=candidate),
                now=now,
                key=f"review:{submission}:{candidate}",
            )
            self._note(tx, f"task {task.id}: checks passed, QA looks at it")
            self._idle(tx)

        return self._if_wanted(task, effects)

    def _on_verdict(self, task: Task, verdict: VerdictReported) -> Effects:
        if task.state != TaskState.CHECKING or task.candidate_commit != verdict.candidate:
            return nothing
        project = self.project
        if not verdict.passed:
            return self._return(task, f"The tester did not pass it:\n{verdict.findings}")
        started_at = self.now()
        result = self._known_result(project, task)
        if result is None:
            # The branch moved while QA looked: the merge is made and checked anew.
            if not self._begin(task, project):
                return self._idle
            result = self._evaluate(project, task, task.submitted_commit or "")
        return self._settle(project, task, result, started_at, findings=verdict.findings)

    def _known_result(self, project: Project, task: Task) -> GateResult | None:
        """What the checks said of the candidate that QA saw, if the branch is still where it was then."""
        runs = tasks.gate_runs_of(self.store, task.id)
        if not runs or runs[-1].candidate != task.candidate_commit:
            return None
        result = merging.result_from_json(runs[-1].report)
        repository = open_repository(Path(project.repository))
        head = head_of(repository, project.branch)
        return result if head in (result.parent, result.candidate) else None

    def tick(self) -> float:
        """Nothing waits without a deadline: a tester that stays silent does not hold up the night."""
        now, looked_at = self.now(), time.monotonic()
        elapsed_s, self._looked_at = min(looked_at - self._looked_at, 2 * LOOK_S), looked_at
        project = self.project
        if project.with_qa and project.state == ProjectState.ACTIVE:
            for task in self._patience.spend(elapsed_s):
                self._decide_without_qa(task, now)
        waits = self._rests_as is not Activity.IDLE or inbox.claimed(self.store, self.runtime.name)
        return now + (WAITING_LOOK_S if waits else LOOK_S)

    def _decide_without_qa(self, task: Task, now: float) -> None:
        """A verdict in the tester's place, by the way that a tester's takes."""
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
                "verdict_missing",
                now=now,
                agent=assignment.member(task.project, Role.QA),
                project=task.project,
                task=task.id,
            )
            # Without a key: of a second submission, too, the tester may say nothing.
            mailbox.post(tx, name, name, verdict, now=now)

    # -- outcomes ------------------------------------------------------------------------------

    def _settle(
        self,
        project: Project,
        task: Task,
        result: GateResult,
        started_at: float,
        findings: str | None = None,
    ) -> Effects:
        """Merge, or send back with the gate's words."""
        if not result.may_land:
            sent_back = self._return(task, result.report)

            def refused(tx: Transaction) -> None:
                self._record(tx, task, result, started_at)
                sent_back(tx)

            return refused
        with self.write() as tx:
            if not self._may_go_on(tx, task):
                # What nobody wants any more must not land.
                return self._idle
        repository = open_repository(Path(project.repository))
        tag = merging.land(
            repository,
            project=project.name,
            task=task_label(task.id),
            integration=project.branch,
            result=result,
            locks=self.runtime.home.locks,
        )
        if tag is None:
            # Only a person moves this branch besides us; judge what is there now, with time of its own.
            if not self._begin(task, project):
                return self._idle
            fresh = self._evaluate(project, task, result.commit)
            return self._settle(project, task, fresh, started_at, findings)
        log.info("task_merged", project=project.name, task=task.id, commit=result.candidate)
        return self._merged_effects(task, result, tag, started_at, findings)

    def _merged_effects(
        self, task: Task, result: GateResult, tag: str, started_at: float, findings: str | None
    ) -> Effects:
        def effects(tx: Transaction) -> None:
            now = self.now()
            if result.verdict is not GateVerdict.ALREADY_MERGED and result.candidate != task.candidate_commit:
                self._record(tx, task, result, started_at)
            if result.checks is not None:
                facts.put(tx, f"base:{task.project}", asdict(result.checks), now=now)
            if findings is not None:
                tasks.amend(tx, task.id, now=now, feedback=findings)
            assignment.merged(
                tx,
                tasks.current(tx, task.id),
                commit=result.candidate or "",
                tag=tag,
                verified=result.verdict is not GateVerdict.UNVERIFIED,
                by=self.runtime.name,
                now=now,
            )
            self._note(tx, f"task {task.id}: merged as {(result.candidate or '')[:10]} ({result.verdict})")
            self._idle(tx)

        return effects

    def _return(self, task: Task, feedback: str) -> Effects:
        def effects(tx: Transaction) -> None:
            limit = self.runtime.config.budgets.attempts_per_task
            current = tasks.current(tx, task.id)
            assignment.returned(
                tx, current, feedback=feedback, limit=limit, by=self.runtime.name, now=self.now()
            )
            tasks.amend(tx, task.id, now=self.now(), candidate_commit=None)
            self._note(tx, f"task {task.id}: not accepted\n{feedback}")
            self._idle(tx)

        return self._if_wanted(task, effects)

    def _record(self, tx: Transaction, task: Task, result: GateResult, started_at: float) -> None:
        tasks.record_gate_run(
            tx,
            task=task.id,
            commit=result.commit,
            candidate=result.candidate,
            verdict=result.verdict,
            report=asdict(result),
            started_at=started_at,
            ended_at=self.now(),
        )

    def _note(self, tx: Transaction, text: str) -> None:
        history.append(tx, self.runtime.fence, NoteBody(text), now=self.now())
        history.touch(tx, self.runtime.name, now=self.now())

    def tell_of_dead_letter(self, tx: Transaction, row: Message, reason: str) -> None:
        """As for every actor; and the task that it was about must not wait for us for ever."""
        super().tell_of_dead_letter(tx, row, reason)
        self._idle(tx)
        task_id = row.body.get("task")
        if task_id is not None:
            task = tasks.current(tx, task_id)
            if task.state in OURS:
                assignment.park(tx, task, reason=reason, by=self.runtime.name, now=self.now())

    def _idle(self, tx: Transaction) -> None:
        self._rest(tx, Activity.IDLE)

    def _rest(self, tx: Transaction, activity: Activity) -> None:
        crew.change_agent(
            tx,
            self.runtime.name,
            activity=activity,
            activity_since=self.now(),
            deadline_at=None,
            task=None,
        )


def _is_wanted(tx: Transaction, task: Task) -> bool:
    """Whether the submission that `task` was read with still waits for us: it may have been taken back, parked
    or submitted anew, or its project have ended."""
    current = tasks.current(tx, task.id)
    is_same = current.state in OURS and current.submitted_commit == task.submitted_commit
    return is_same and crew.project(tx, task.project).state in ALIVE


def _merge_message(task: Task) -> str:
    return f"{task.title}\n\n{task.summary or ''}\n\nNightcrew-Task: {task.id}\n"
