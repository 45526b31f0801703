"""The tool report_verdict: what a tester or reviewer found out about a task."""

from __future__ import annotations

from typing import Any

from actors.model.protocol import Parameter
from actors.runtime import mailbox
from actors.runtime.messages import VerdictReported, review_request
from actors.tools.crew_tool import CallRefused, CrewContext, CrewToolResult, crew_tool
from actors.work import team
from store import tasks
from store.engine import Transaction
from store.rows import Task
from store.states import TaskState


def post_verdict(
    tx: Transaction,
    sender: str,
    task: Task,
    request: int,
    *,
    passed: bool,
    findings: str,
    now: float,
) -> None:
    """Send the gate a verdict on the task's current merge. Only the first verdict per `request` counts."""
    candidate = task.candidate_commit
    verdict = VerdictReported(task=task.id, candidate=candidate, passed=passed, findings=findings)
    mailbox.post(tx, sender, team.gate(task.project), verdict, now=now, key=f"verdict:{request}")


def _report_verdict(context: CrewContext, arguments: dict[str, Any]) -> CrewToolResult:
    request = review_request(context.turn)
    if request is None:
        raise CallRefused("There is no review request for you now. Wait for one.")
    if int(arguments["task"]) != request.task:
        raise CallRefused(
            f"The review request is about task {request.task}; report your verdict on that one."
        )
    task = tasks.get(context.store, request.task)
    if task.state is not TaskState.CHECKING or task.candidate_commit != request.candidate:
        raise CallRefused(f"Task {task.id} no longer waits for a verdict. Stop here.")
    passed, findings = bool(arguments["passed"]), str(arguments["findings"]).strip()
    if not passed and not findings:
        raise CallRefused("With passed = false, findings are required: what fails, and how to see it.")

    def effects(tx: Transaction) -> None:
        post_verdict(
            tx, context.name, task, context.turn.id, passed=passed, findings=findings, now=context.now()
        )

    return CrewToolResult("Your verdict was delivered. Stop here.", effects=effects, ends_turn=True)


TOOLS = (
    crew_tool(
        "report_verdict",
        "Report your verdict on the task that you were asked to test or review.",
        _report_verdict,
        Parameter("task", "integer", "The number of the task"),
        Parameter("passed", "boolean", "true if the work does what the task asks"),
        Parameter("findings", "string", "What you tried and saw; for a failure, how to see it"),
    ),
)
