"""What the gate decided about a submission, as a value, and the one place that commits it.

Merged       -> the task is merged; what depends on it may start
Refused      -> back to its engineer with the reasons, or parked after too many attempts
AwaitReview  -> QA is asked about the merge
Dropped      -> nothing: the submission is no longer wanted
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from actors.gate.merging import GateResult
from actors.gate.records import Records, is_wanted
from actors.runtime import mailbox
from actors.runtime.messages import ReviewRequested
from actors.work import outcomes, team
from store import facts, tasks
from store.engine import Transaction
from store.rows import Task
from store.states import GateVerdict, Role


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A result and when its evaluation began, in UTC seconds."""

    result: GateResult
    started_at: float


@dataclass(frozen=True, slots=True)
class Merged:
    """The integration branch holds the merge and `tag` names it. `findings` are QA's words, if it was asked."""

    task: Task
    evaluation: Evaluation
    tag: str
    findings: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Not merged; `feedback` says why. Without an evaluation the refusal is QA's."""

    task: Task
    feedback: str
    evaluation: Evaluation | None = None


@dataclass(frozen=True, slots=True)
class AwaitReview:
    """The checks passed; QA has to test the merge. `submission` is the id of the submitting message."""

    task: Task
    evaluation: Evaluation
    submission: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """The submission was withdrawn, parked or replaced, or its project has ended."""


Judgement = Merged | Refused | AwaitReview | Dropped


def commit(tx: Transaction, records: Records, judgement: Judgement, *, attempts: int) -> None:
    """Apply a judgement to the store. A task is parked after `attempts` refusals."""
    match judgement:
        case Merged():
            _commit_merged(tx, records, judgement)
        case Refused(task=task):
            if judgement.evaluation is not None:
                _record_run(tx, records, task, judgement.evaluation)
            if is_wanted(tx, task):
                _commit_refused(tx, records, judgement, attempts)
        case AwaitReview(task=task):
            if is_wanted(tx, task):
                _commit_await_review(tx, records, judgement)
        case Dropped():
            pass
    records.set_idle(tx)


def _commit_merged(tx: Transaction, records: Records, merged: Merged) -> None:
    task, result = merged.task, merged.evaluation.result
    now = records.now()
    is_new = result.verdict is not GateVerdict.ALREADY_MERGED and result.candidate != task.candidate_commit
    if is_new:
        _record_run(tx, records, task, merged.evaluation)
    if result.checks is not None:
        facts.put(tx, facts.base_checks(task.project), asdict(result.checks), now=now)
    if merged.findings is not None:
        tasks.amend(tx, task.id, now=now, feedback=merged.findings)
    outcomes.record_merge(
        tx,
        tasks.current(tx, task.id),
        commit=result.candidate or "",
        tag=merged.tag,
        verified=result.verdict is not GateVerdict.UNVERIFIED,
        by=records.gate,
        now=now,
    )
    records.note(tx, f"task {task.id}: merged as {(result.candidate or '')[:10]} ({result.verdict})")


def _commit_refused(tx: Transaction, records: Records, refused: Refused, attempts: int) -> None:
    task, now = refused.task, records.now()
    current = tasks.current(tx, task.id)
    outcomes.return_task(tx, current, feedback=refused.feedback, limit=attempts, by=records.gate, now=now)
    tasks.amend(tx, task.id, now=now, candidate_commit=None)
    records.note(tx, f"task {task.id}: not accepted\n{refused.feedback}")


def _commit_await_review(tx: Transaction, records: Records, asked: AwaitReview) -> None:
    task, now = asked.task, records.now()
    candidate = asked.evaluation.result.candidate or ""
    _record_run(tx, records, task, asked.evaluation)
    tasks.amend(tx, task.id, now=now, candidate_commit=candidate)
    mailbox.post(
        tx,
        records.gate,
        team.member(task.project, Role.QA),
        ReviewRequested(task=task.id, candidate=candidate),
        now=now,
        key=f"review:{asked.submission}:{candidate}",
    )
    records.note(tx, f"task {task.id}: checks passed, QA tests it")


def _record_run(tx: Transaction, records: Records, task: Task, evaluation: Evaluation) -> None:
    result = evaluation.result
    tasks.record_gate_run(
        tx,
        task=task.id,
        commit=result.commit,
        candidate=result.candidate,
        verdict=result.verdict,
        report=asdict(result),
        started_at=evaluation.started_at,
        ended_at=records.now(),
    )
