"""Every message that actors exchange: a pydantic union tagged by `kind`, with a version `v`.

A message reports an event (`TaskMerged`) or requests something (`ReviewRequested`). Only `encode` and `decode`
convert between a message and the JSON in its row.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from actors.errors import MessageUndecodable
from store import rows


class Message(BaseModel):
    """The base class of all messages. They are frozen, reject unknown fields and have version 1 by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    v: Literal[1] = 1


class Text(Message):
    """Free text from a person or an agent."""

    kind: Literal["text"] = "text"
    text: str


class CheckIn(Message):
    """A timer is due. `late_s`: seconds between its due time and the sending of this message."""

    kind: Literal["check_in"] = "check_in"
    timer: int
    note: str
    late_s: float = 0.0


class ProjectBriefed(Message):
    """A project was created. Sent to its manager, which reads the spec and plans tasks."""

    kind: Literal["project_briefed"] = "project_briefed"
    project: str


class TaskAssigned(Message):
    """A task was assigned. Sent to its assignee."""

    kind: Literal["task_assigned"] = "task_assigned"
    task: int


class TaskSubmitted(Message):
    """An engineer submits `commit` as its task's result. Sent to the merge gate."""

    kind: Literal["task_submitted"] = "task_submitted"
    task: int
    commit: str


class ReviewRequested(Message):
    """Asks QA to test `candidate`, the commit of a merge that passed the checks or has none."""

    kind: Literal["review_requested"] = "review_requested"
    task: int
    candidate: str


class VerdictReported(Message):
    """QA's verdict on a candidate. Sent to the merge gate."""

    kind: Literal["verdict_reported"] = "verdict_reported"
    task: int
    candidate: str
    passed: bool
    findings: str


class TaskReturned(Message):
    """A submission was not accepted; `feedback` gives the reason. Sent to its assignee."""

    kind: Literal["task_returned"] = "task_returned"
    task: int
    feedback: str


class TaskMerged(Message):
    """The task was merged into the integration branch as `commit`. Sent to its assignee and the manager."""

    kind: Literal["task_merged"] = "task_merged"
    task: int
    commit: str


class TaskParked(Message):
    """The task was parked: the crew stopped working on it. `reason` is the first line of the evidence."""

    kind: Literal["task_parked"] = "task_parked"
    task: int
    reason: str


class AgentQuarantined(Message):
    """The agent crashed too often and is quarantined. Sent to its manager and the human."""

    kind: Literal["agent_quarantined"] = "agent_quarantined"
    agent: str
    reason: str


class DeadLetter(Message):
    """A message became a dead letter. Sent to its sender and the human."""

    kind: Literal["dead_letter"] = "dead_letter"
    message: int
    recipient: str
    error: str


class InsightShared(Message):
    """A finding that may help other projects. Sent to their managers."""

    kind: Literal["insight_shared"] = "insight_shared"
    text: str
    author: str


class Pause(Message):
    """Interrupt the current step and stop until `Resume`. Sent to an agent."""

    kind: Literal["pause"] = "pause"


class Resume(Message):
    """Continue after `Pause`. Sent to an agent."""

    kind: Literal["resume"] = "resume"


class CancelTurn(Message):
    """Interrupt the current turn and end it with `reason`. Sent to an agent."""

    kind: Literal["cancel_turn"] = "cancel_turn"
    reason: str


class ProjectChanged(Message):
    """The row of a project or agent has changed. The supervisor starts and ends processes accordingly."""

    kind: Literal["project_changed"] = "project_changed"
    project: str | None = None


class RestartAgent(Message):
    """End this agent's process and start a new one, also if the agent is quarantined. Sent to the supervisor."""

    kind: Literal["restart_agent"] = "restart_agent"
    agent: str


AnyMessage = Annotated[
    Text
    | CheckIn
    | ProjectBriefed
    | TaskAssigned
    | TaskSubmitted
    | ReviewRequested
    | VerdictReported
    | TaskReturned
    | TaskMerged
    | TaskParked
    | AgentQuarantined
    | DeadLetter
    | InsightShared
    | Pause
    | Resume
    | CancelTurn
    | ProjectChanged
    | RestartAgent,
    Field(discriminator="kind"),
]

_ADAPTER: TypeAdapter[AnyMessage] = TypeAdapter(AnyMessage)


def encode(message: AnyMessage) -> dict[str, Any]:
    """The JSON body of a message's row, including `kind` and `v`."""
    return message.model_dump(mode="json")


def decode(body: dict[str, Any]) -> AnyMessage:
    """The message in a row's body. Raises `MessageUndecodable`, also for an unknown version."""
    try:
        return _ADAPTER.validate_python(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MessageUndecodable(
            f"kind {body.get('kind')!r} v{body.get('v')!r}: {where}: {first['msg']}"
        ) from error


def review_request(row: rows.Message) -> ReviewRequested | None:
    """The review request in a row; None for a message of another kind."""
    if row.kind != "review_requested":
        return None
    return ReviewRequested.model_validate(row.body)
