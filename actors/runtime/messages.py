"""Every message that actors exchange: a pydantic union tagged by `kind`, with a version `v`.

Messages say what happened (`TaskMerged`) or what is wanted (`ReviewRequested`). `encode` and
`decode` are the only way between a message and the JSON of its row.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from actors.errors import MessageUndecodable
from store import rows


class Message(BaseModel):
    """The base of all: frozen, strict about unknown fields, version 1 unless its class says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    v: Literal[1] = 1


class Text(Message):
    """Something said in plain words, by a person or an agent."""

    kind: Literal["text"] = "text"
    text: str


class CheckIn(Message):
    """A timer came due. `late_s`: seconds between its due time and now."""

    kind: Literal["check_in"] = "check_in"
    timer: int
    note: str
    late_s: float = 0.0


class ProjectBriefed(Message):
    """The manager's start: a project's spec as written."""

    kind: Literal["project_briefed"] = "project_briefed"
    project: str


class TaskAssigned(Message):
    """One task for its assignee."""

    kind: Literal["task_assigned"] = "task_assigned"
    task: int


class TaskSubmitted(Message):
    """For the gate: an engineer says that `commit` is done."""

    kind: Literal["task_submitted"] = "task_submitted"
    task: int
    commit: str


class ReviewRequested(Message):
    """For QA: the checks passed on `candidate`; what does a tester say?"""

    kind: Literal["review_requested"] = "review_requested"
    task: int
    candidate: str


class VerdictReported(Message):
    """For the gate: QA's word on a candidate."""

    kind: Literal["verdict_reported"] = "verdict_reported"
    task: int
    candidate: str
    passed: bool
    findings: str


class TaskReturned(Message):
    """For the assignee: the submission was not accepted; `feedback` says why."""

    kind: Literal["task_returned"] = "task_returned"
    task: int
    feedback: str


class TaskMerged(Message):
    """The task's work is on the integration branch as `commit`."""

    kind: Literal["task_merged"] = "task_merged"
    task: int
    commit: str


class TaskParked(Message):
    """The task was given up for tonight; `reason` is the evidence's first line."""

    kind: Literal["task_parked"] = "task_parked"
    task: int
    reason: str


class AgentQuarantined(Message):
    """For its manager and the human: the agent crashed past the limit and rests."""

    kind: Literal["agent_quarantined"] = "agent_quarantined"
    agent: str
    reason: str


class DeadLetter(Message):
    """For sender and human: a message failed for good."""

    kind: Literal["dead_letter"] = "dead_letter"
    message: int
    recipient: str
    error: str


class InsightShared(Message):
    """For managers of other projects: something learned."""

    kind: Literal["insight_shared"] = "insight_shared"
    text: str
    author: str


class Pause(Message):
    """For an agent: stop after interrupting the current step, until Resume."""

    kind: Literal["pause"] = "pause"


class Resume(Message):
    kind: Literal["resume"] = "resume"


class CancelTurn(Message):
    """For an agent: drop what you are doing now; the turn ends with `reason`."""

    kind: Literal["cancel_turn"] = "cancel_turn"
    reason: str


class ProjectChanged(Message):
    """For the supervisor: a project's or an agent's row says what is wanted now; make it so."""

    kind: Literal["project_changed"] = "project_changed"
    project: str | None = None


class RestartAgent(Message):
    """For the supervisor: end this agent's process and start it anew; lifts a quarantine."""

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
    """The JSON body of a message's row; `kind` and `v` are part of it."""
    return message.model_dump(mode="json")


def decode(body: dict[str, Any]) -> AnyMessage:
    """The message in a row's body. Raises `MessageUndecodable`, also for a version it does not know."""
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
