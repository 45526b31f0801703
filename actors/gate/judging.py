"""Judges one submission: merge, check, compare, land. Returns a `Judgement` for the actor to commit."""

from __future__ import annotations

from pathlib import Path

from actors import log
from actors.environment.project import kept_environment
from actors.errors import Interrupted
from actors.gate import merging
from actors.gate.checks import CheckReport, report_from_json
from actors.gate.judgement import AwaitReview, Dropped, Evaluation, Judgement, Merged, Refused
from actors.gate.merging import GateResult
from actors.gate.protection.examine import permitted_paths
from actors.gate.records import AT_GATE, Records
from actors.gate.runner import SandboxedChecks
from actors.git.refs import head_of
from actors.git.repository import open_repository
from actors.runtime.context import Runtime
from actors.runtime.messages import VerdictReported
from store import facts, tasks
from store.rows import Project, Task
from store.shared.ref_names import task_label
from store.states import GateVerdict, Role, TaskState

MAX_LOOKS = 4  # see `looks`
SETTLING_S = 300.0  # for git and the store, beside the checks' own time


class Judge:
    """Judges the submissions of one project. Everything it does outside the store can be repeated."""

    def __init__(self, runtime: Runtime, records: Records, project: str) -> None:
        self._runtime = runtime
        self._store = runtime.store
        self._records = records
        self._run_check = SandboxedChecks(
            runtime.config,
            runtime.home,
            runtime.coupling.stopping,
            lambda: kept_environment(runtime.store, project),
        )

    def submission(self, project: Project, task: Task, commit: str, message: int) -> Judgement:
        """Judge `commit`; `message` is the id of the message that submitted it."""
        if task.submitted_commit != commit or task.state not in AT_GATE:
            return Dropped()
        evaluation = self._evaluate(project, task, commit)
        if evaluation is None:
            return Dropped()
        if project.with_qa and evaluation.result.verdict in (GateVerdict.PASSED, GateVerdict.UNVERIFIED):
            return AwaitReview(task, evaluation, message)
        return self._land(project, task, evaluation)

    def review(self, project: Project, task: Task, verdict: VerdictReported) -> Judgement:
        """Judge a submission that QA has tested."""
        if task.state != TaskState.CHECKING or task.candidate_commit != verdict.candidate:
            return Dropped()
        if not verdict.passed:
            return Refused(task, f"QA did not pass it:\n{verdict.findings}")
        # If the branch moved while QA was testing, the merge is made and checked again.
        known = self._tested_result(project, task)
        evaluation = (
            self._evaluate(project, task, task.submitted_commit or "")
            if known is None
            else Evaluation(known, self._records.now())
        )
        return Dropped() if evaluation is None else self._land(project, task, evaluation, verdict.findings)

    def _evaluate(self, project: Project, task: Task, commit: str) -> Evaluation | None:
        """Merge and check. None if the submission is no longer wanted. Raises `Interrupted`."""
        work = self._runtime.config.work
        patience_s = (MAX_LOOKS * len(project.checks) + 1) * work.check_timeout_s + SETTLING_S
        with self._store.write(self._runtime.fence) as tx:
            if not self._records.begin_checking(tx, task, patience_s):
                return None
        started_at = self._records.now()
        result = merging.evaluate(
            open_repository(Path(project.repository)),
            integration=project.branch,
            commit=commit,
            message=f"{task.title}\n\n{task.summary or ''}\n\nNightcrew-Task: {task.id}\n",
            commands=project.checks,
            run=self._run_check,
            scratch=self._runtime.home.scratch(project.name),
            locks=self._runtime.home.locks,
            base=self._base(project.name),
            timeout_s=work.check_timeout_s,
            needs_progress=task.role not in (Role.WRITER, Role.RESEARCHER),
            permitted=permitted_paths(project.spec.notes),
        )
        if self._runtime.coupling.stopping.is_set():
            # A check that ended because we are stopping says nothing about the work.
            raise Interrupted(f"{self._records.gate} was asked to stop during the checks")
        return Evaluation(result, started_at)

    def _land(
        self, project: Project, task: Task, evaluation: Evaluation | None, findings: str | None = None
    ) -> Judgement:
        """Land: move the integration branch to the candidate. If it has moved meanwhile, evaluate again first."""
        while evaluation is not None:
            result = evaluation.result
            if not result.may_land:
                return Refused(task, result.report, evaluation)
            with self._store.write(self._runtime.fence) as tx:
                # An unwanted submission must not land.
                if not self._records.may_continue(tx, task):
                    return Dropped()
            tag = merging.land(
                open_repository(Path(project.repository)),
                project=project.name,
                task=task_label(task.id),
                integration=project.branch,
                result=result,
                locks=self._runtime.home.locks,
            )
            if tag is not None:
                log.info("task_merged", project=project.name, task=task.id, commit=result.candidate)
                return Merged(task, evaluation, tag, findings)
            evaluation = self._evaluate(project, task, result.commit)
        return Dropped()

    def _base(self, project: str) -> CheckReport | None:
        """The check results on the integration branch, from the last merge."""
        known = facts.get(self._store, facts.base_checks(project))
        return None if known is None else report_from_json(known)

    def _tested_result(self, project: Project, task: Task) -> GateResult | None:
        """The result for the merge that QA tested, unless the branch has moved since."""
        runs = tasks.gate_runs_of(self._store, task.id)
        if not runs or runs[-1].candidate != task.candidate_commit:
            return None
        result = merging.result_from_json(runs[-1].report)
        head = head_of(open_repository(Path(project.repository)), project.branch)
        return result if head in (result.parent, result.candidate) else None
