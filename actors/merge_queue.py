"""The gate of one project as an actor: submissions are judged and merged one after the other.

Its own process, so that a long check holds up no engineer, and a queue, so that every merge is checked
against the one before it. Everything it does outside the store may be repeated (`gate.py`).
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actors import gate, log, mailbox, work, workspace
from actors.actor import Actor, Effects, Runtime, nothing
from actors.agent.workbench import policy_of
from actors.checks import CheckReport, CheckRun, report_from_json
from actors.disk import RoomWatch
from actors.errors import Interrupted, MessageUnexpected
from actors.gate import GateResult
from actors.messages import AnyMessage, ReviewRequested, TaskSubmitted, VerdictReported
from actors.sandbox.choose import choose
from actors.sandbox.policy import Sandbox
from actors.sandbox.run import run_command
from actors.tools.crew import post_verdict
from store import crew, history, inbox, incidents, tasks
from store.engine import Transaction
from store.inbox import Row
from store.states import Activity, AgentState, EntryKind, ProjectState, Role, TaskState

SHOWN_CHARACTERS = 400_000  # test counts are read from the output: as whole as it can be had
QA_PATIENCE_S = 2_700.0
LOOK_S = 60.0
ROOM_LOOK_S = 2.0


class MergeQueue(Actor):
    """Named `gate.<project>`."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self._sandbox: Sandbox | None = None
        self._room = RoomWatch([runtime.home.path], runtime.config.retention.min_free_mb)
        self._waits = False
        self._looked_at = time.monotonic()
        self._patience_s: dict[tuple[int, str], float] = {}

    def recover(self) -> None:
        self._room.paths = [self.runtime.home.path, Path(self.project["repository"])]

    def drain(self) -> None:
        """A merge takes room; what is submitted meanwhile waits in the mailbox."""
        short = self._room.look() is not None
        if short != self._waits:
            with self.write() as tx:
                self._rest(tx, Activity.NO_SPACE if short else Activity.IDLE)
            self._waits = short
        if not short:
            super().drain()

    @property
    def project(self) -> dict[str, Any]:
        return crew.project(self.store, self.runtime.name.removeprefix("gate."))

    def handle(self, message: AnyMessage, row: Row) -> Effects:
        match message:
            case TaskSubmitted(task=task_id, commit=commit):
                return self._judge_submission(tasks.get(self.store, task_id), commit, row.id)
            case VerdictReported():
                return self._on_verdict(tasks.get(self.store, message.task), message)
            case _:
                raise MessageUnexpected(f"the gate does not handle {message.kind}")

    # -- submissions ---------------------------------------------------------------------------

    def _judge_submission(self, task: dict[str, Any], commit: str, submission: int) -> Effects:
        if task["submitted_commit"] != commit or task["state"] not in (
            TaskState.SUBMITTED,
            TaskState.CHECKING,
        ):
            return nothing
        project = self.project
        if not self._begin(task, project):
            return self._idle
        started_at = self.now()
        result = self._evaluate(project, task, commit)
        if project["with_qa"] and result.verdict in ("passed", "unverified"):
            return self._ask_qa(project, task, result, started_at, submission)
        return self._settle(project, task, result, started_at)

    def _begin(self, task: dict[str, Any], project: dict[str, Any]) -> bool:
        """From SUBMITTED to CHECKING, with a deadline for the whole run; False if it was taken back meanwhile."""
        seconds = (2 * len(project["checks"]) + 1) * self.runtime.config.work.check_timeout_s + 300.0
        with self.write() as tx:
            now = self.now()
            state = tasks.current(tx, task["id"])["state"]
            if state not in (TaskState.SUBMITTED, TaskState.CHECKING):
                return False
            if state == TaskState.SUBMITTED:
                tasks.move(
                    tx, task["id"], TaskState.CHECKING, by=self.runtime.name, reason="checks run", now=now
                )
                self._note(tx, f"task {task['id']}: checking {task['submitted_commit'][:10]}")
            crew.change_agent(
                tx,
                self.runtime.name,
                activity=Activity.TOOL.value,
                activity_since=now,
                deadline_at=now + seconds,
                task=task["id"],
            )
        return True

    def _evaluate(self, project: dict[str, Any], task: dict[str, Any], commit: str) -> GateResult:
        repository = workspace.inspect(Path(project["repository"]))
        result = gate.evaluate(
            repository,
            integration=project["branch"],
            commit=commit,
            message=_merge_message(task),
            commands=project["checks"],
            run=self._run_check,
            scratch=self.runtime.home.scratch(project["name"]),
            locks=self.runtime.home.locks,
            base=self._known_base(project["name"]),
            timeout_s=self.runtime.config.work.check_timeout_s,
            needs_progress=task["role"] not in (Role.WRITER, Role.RESEARCHER),
        )
        if self.coupling.stopping.is_set():
            # A check that was ended with us says nothing about the work.
            raise Interrupted(f"{self.runtime.name} was asked to stop during the checks")
        return result

    def _known_base(self, project: str) -> CheckReport | None:
        known = incidents.fact(self.store, f"base:{project}")
        return None if known is None else report_from_json(known)

    def _run_check(self, command: str, folder: Path, timeout_s: float) -> CheckRun:
        """One check in the sandbox; `gate.evaluate` decides what its outcome means."""
        if self._sandbox is None:
            config = self.runtime.config
            self._sandbox = choose(
                policy_of(config, self.runtime.home.path), unsafe=config.sandbox.mode == "off", probe=False
            )
        result = run_command(
            self._sandbox,
            command,
            worktree=folder,
            timeout_s=timeout_s,
            cancelled=self.coupling.stopping,
            shown_chars=SHOWN_CHARACTERS,
        )
        if result.exit_code is not None:
            return CheckRun(command, result.exit_code, result.output, result.duration_s)
        ending = "timed_out" if result.timed_out else "killed"
        return CheckRun(command, -1, result.output, result.duration_s, ending)  # type: ignore[arg-type] # a Literal

    # -- QA ------------------------------------------------------------------------------------

    def _ask_qa(
        self,
        project: dict[str, Any],
        task: dict[str, Any],
        result: GateResult,
        started_at: float,
        submission: int,
    ) -> Effects:
        def effects(tx: Transaction) -> None:
            now = self.now()
            candidate = result.candidate or ""
            self._record(tx, task, result, started_at)
            tasks.amend(tx, task["id"], now=now, candidate_commit=candidate)
            mailbox.post(
                tx,
                self.runtime.name,
                work.member(project["name"], Role.QA),
                ReviewRequested(task=task["id"], candidate=candidate),
                now=now,
                key=f"review:{submission}:{candidate}",
            )
            self._note(tx, f"task {task['id']}: checks passed, QA looks at it")
            self._idle(tx)

        return effects

    def _on_verdict(self, task: dict[str, Any], verdict: VerdictReported) -> Effects:
        if task["state"] != TaskState.CHECKING or task["candidate_commit"] != verdict.candidate:
            return nothing
        project = self.project
        if not verdict.passed:
            return self._return(task, f"The tester did not pass it:\n{verdict.findings}")
        started_at = self.now()
        result = self._known_result(project, task)
        if result is None:
            # The branch moved while QA looked: the merge is made and checked anew.
            self._begin(task, project)
            result = self._evaluate(project, task, task["submitted_commit"])
        return self._settle(project, task, result, started_at, findings=verdict.findings)

    def _known_result(self, project: dict[str, Any], task: dict[str, Any]) -> GateResult | None:
        """What the checks said of the candidate that QA saw, if the branch is still where it was then."""
        runs = tasks.gate_runs_of(self.store, task["id"])
        if not runs or runs[-1]["candidate"] != task["candidate_commit"]:
            return None
        result = gate.result_from_json(runs[-1]["report"])
        repository = workspace.inspect(Path(project["repository"]))
        head = workspace.head_of(repository, project["branch"])
        return result if head in (result.parent, result.candidate) else None

    def tick(self) -> float:
        """Nothing waits without a deadline: a tester that stays silent does not hold up the night."""
        now, looked_at = self.now(), time.monotonic()
        elapsed_s, self._looked_at = min(looked_at - self._looked_at, 2 * LOOK_S), looked_at
        project = self.project
        if project["with_qa"] and project["state"] == ProjectState.ACTIVE:
            self._lose_patience(project["name"], elapsed_s, now)
        return now + (ROOM_LOOK_S if self._waits else LOOK_S)

    def _lose_patience(self, project: str, elapsed_s: float, now: float) -> None:
        """Only the tester's own time counts: not its queue, a pause, an outage or the machine's sleep."""
        qa = crew.agent(self.store, work.member(project, Role.QA))
        resting = qa["state"] == AgentState.QUARANTINED
        if not resting and qa["activity"] in (Activity.PAUSED, Activity.WAITING, Activity.IDLE):
            return
        in_hand = {row.body.get("task") for row in inbox.claimed(self.store, qa["name"])}
        for task in tasks.of_project(self.store, project):
            waits = task["state"] == TaskState.CHECKING and task["candidate_commit"]
            if not waits or not (resting or task["id"] in in_hand):
                continue
            key = (task["id"], task["candidate_commit"])
            self._patience_s[key] = self._patience_s.get(key, QA_PATIENCE_S) - elapsed_s
            if self._patience_s[key] <= 0:
                words = f"No verdict in {QA_PATIENCE_S / 60:.0f} minutes of work; the checks alone decided."
                with self.write() as tx:
                    incidents.record(
                        tx, "verdict_missing", now=now, agent=qa["name"], project=project, task=task["id"]
                    )
                    post_verdict(
                        tx, self.runtime.name, task, -task["id"], passed=True, findings=words, now=now
                    )
                self._patience_s.pop(key)

    # -- outcomes ------------------------------------------------------------------------------

    def _settle(
        self,
        project: dict[str, Any],
        task: dict[str, Any],
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
        if tasks.get(self.store, task["id"])["state"] != TaskState.CHECKING:
            # Parked or cancelled while it was judged: what nobody wants any more must not land.
            return self._idle
        repository = workspace.inspect(Path(project["repository"]))
        tag = gate.land(
            repository,
            project=project["name"],
            task=f"t{task['id']}",
            integration=project["branch"],
            result=result,
            locks=self.runtime.home.locks,
        )
        if tag is None:
            # Only a person moves this branch besides us; judge what is there now, with time of its own.
            self._begin(task, project)
            fresh = self._evaluate(project, task, result.commit)
            return self._settle(project, task, fresh, started_at, findings)
        log.info("task_merged", project=project["name"], task=task["id"], commit=result.candidate)
        return self._merged_effects(task, result, tag, started_at, findings)

    def _merged_effects(
        self, task: dict[str, Any], result: GateResult, tag: str, started_at: float, findings: str | None
    ) -> Effects:
        def effects(tx: Transaction) -> None:
            now = self.now()
            if result.verdict != "already_merged" and result.candidate != task["candidate_commit"]:
                self._record(tx, task, result, started_at)
            if result.checks is not None:
                incidents.set_fact(tx, f"base:{task['project']}", asdict(result.checks), now=now)
            if findings is not None:
                tasks.amend(tx, task["id"], now=now, feedback=findings)
            work.merged(
                tx,
                tasks.current(tx, task["id"]),
                commit=result.candidate or "",
                tag=tag,
                verified=result.verdict != "unverified",
                by=self.runtime.name,
                now=now,
            )
            self._note(tx, f"task {task['id']}: merged as {(result.candidate or '')[:10]} ({result.verdict})")
            self._idle(tx)

        return effects

    def _return(self, task: dict[str, Any], feedback: str) -> Effects:
        def effects(tx: Transaction) -> None:
            limit = self.runtime.config.budgets.attempts_per_task
            current = tasks.current(tx, task["id"])
            work.returned(tx, current, feedback=feedback, limit=limit, by=self.runtime.name, now=self.now())
            tasks.amend(tx, task["id"], now=self.now(), candidate_commit=None)
            self._note(tx, f"task {task['id']}: not accepted\n{feedback}")
            self._idle(tx)

        return effects

    def _record(self, tx: Transaction, task: dict[str, Any], result: GateResult, started_at: float) -> None:
        tasks.record_gate_run(
            tx,
            task=task["id"],
            commit=result.commit,
            candidate=result.candidate,
            verdict=result.verdict,
            report=asdict(result),
            started_at=started_at,
            ended_at=self.now(),
        )

    def _note(self, tx: Transaction, text: str) -> None:
        history.append(tx, self.runtime.fence, EntryKind.NOTE, {"text": text}, now=self.now())
        history.touch(tx, self.runtime.name, now=self.now())

    def tell_of_dead_letter(self, tx: Transaction, row: Row, reason: str) -> None:
        """As for every actor; and the task that it was about must not wait for us for ever."""
        super().tell_of_dead_letter(tx, row, reason)
        self._idle(tx)
        task_id = row.body.get("task")
        if task_id is not None:
            task = tasks.current(tx, task_id)
            if task["state"] in (TaskState.SUBMITTED, TaskState.CHECKING):
                work.park(tx, task, reason=reason, by=self.runtime.name, now=self.now())

    def _idle(self, tx: Transaction) -> None:
        self._rest(tx, Activity.IDLE)

    def _rest(self, tx: Transaction, activity: Activity) -> None:
        crew.change_agent(
            tx,
            self.runtime.name,
            activity=activity.value,
            activity_since=self.now(),
            deadline_at=None,
            task=None,
        )


def _merge_message(task: dict[str, Any]) -> str:
    return f"{task['title']}\n\n{task['summary'] or ''}\n\nNightcrew-Task: {task['id']}\n"
