"""What the store returns: one frozen dataclass per table, and the values of its typed JSON columns.

The fields have the names and the order of the columns in `schema/tables.py`, so that a row is made from the driver's
tuple as `Task(*columns)`. Times (`*_at`) are seconds since 1970 in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from store.states import (
    Activity,
    AgentState,
    GateVerdict,
    IncidentKind,
    IntentState,
    MessageState,
    ProjectState,
    Role,
    TaskState,
    TimerState,
)


@dataclass(frozen=True, slots=True)
class ProjectSpec:
    """What the user asked for; `raw` is the text of the spec's file, `notes` what its parser remarked."""

    raw: str = ""
    constraints: tuple[str, ...] = ()
    deliverables: tuple[str, ...] = ()
    success_criteria: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The spec of `as_json`."""
        return cls(
            raw=stored["raw"],
            constraints=tuple(stored["constraints"]),
            deliverables=tuple(stored["deliverables"]),
            success_criteria=tuple(stored["success_criteria"]),
            notes=tuple((about, text) for about, text in stored["notes"]),
        )

    def as_json(self) -> dict[str, Any]:
        """As the `spec` column holds it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Project:
    """`branch` is the integration branch; `checks` are commands, and `checks_source` says who chose them."""

    name: str
    title: str
    state: ProjectState
    repository: str
    branch: str
    base_branch: str | None
    base_commit: str
    goal: str
    spec: ProjectSpec
    checks: list[str]
    checks_source: str
    engineers: int
    with_qa: bool
    summary: str | None
    created_at: float
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class Agent:
    """An actor that should run (`wanted`) or did. `generation` counts its starts.

    `kind` is an `ActorKind` or `module:Class`; `reason` why it is in its state; `context_from` the first row of
    its history that its model still sees.
    """

    name: str
    kind: str
    role: Role | None
    project: str | None
    wanted: bool
    state: AgentState
    reason: str | None
    generation: int
    restarts: int
    pid: int | None
    ready_at: float | None
    paused: bool
    activity: Activity
    activity_since: float | None
    deadline_at: float | None
    last_progress_at: float | None
    task: int | None
    context_from: int
    created_at: float


@dataclass(frozen=True, slots=True)
class Message:
    """`body` is the JSON that `actors.runtime.messages.decode` reads; `error` why its last attempt failed."""

    id: int
    sender: str
    recipient: str
    kind: str
    body: dict[str, Any]
    priority: int
    state: MessageState
    attempts: int
    key: str | None
    in_reply_to: int | None
    ready_at: float
    claim_generation: int | None
    error: str | None
    created_at: float
    claimed_at: float | None
    handled_at: float | None

    @property
    def task(self) -> int | None:
        """The id of the task that the message is about, for kinds that have one."""
        return self.body.get("task")

    @property
    def text(self) -> str:
        """The text of a message of kind `text`; empty for other kinds."""
        return str(self.body.get("text", ""))


@dataclass(frozen=True, slots=True)
class Intent:
    """`reply`, `position`: which call of which model reply; `evidence`: noted by the tool before it ran."""

    id: int
    agent: str
    reply: int
    position: int
    tool: str
    arguments: dict[str, Any]
    evidence: dict[str, Any]
    state: IntentState
    generation: int
    created_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Timer:
    """A check-in that is due at `due_at`. `every_s`, or `cron` with `timezone`, make it recur."""

    id: int
    recipient: str
    note: str
    state: TimerState
    due_at: float
    every_s: float | None
    cron: str | None
    timezone: str | None
    key: str | None
    created_by: str
    created_at: float
    fired_at: float | None
    fired_count: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What a task's agents have used up: model calls, generated tokens and seconds at work."""

    steps: int = 0
    generated_tokens: int = 0
    active_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a task has cost so far, on which rung of the recovery ladder it is, and how often it was revived.

    `at_rung`: what was spent when it came to its present rung.
    """

    steps: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    total_ms: float = 0
    queue_ms: float = 0
    active_s: float = 0.0
    rung: int = 0
    at_rung: Spent = field(default_factory=Spent)
    revived: int = 0

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The usage of `as_json`."""
        return cls(**{**stored, "at_rung": Spent(**stored["at_rung"])})

    def as_json(self) -> dict[str, Any]:
        """As the `usage` column holds it."""
        return asdict(self)

    @property
    def spent(self) -> Spent:
        """All that was spent, on whichever rung."""
        return Spent(self.steps, self.generated_tokens, self.active_s)

    @property
    def on_this_rung(self) -> Spent:
        """What was spent since the task came to its present rung."""
        return Spent(
            self.steps - self.at_rung.steps,
            self.generated_tokens - self.at_rung.generated_tokens,
            self.active_s - self.at_rung.active_s,
        )


@dataclass(frozen=True, slots=True)
class Task:
    """`deliverable` counts from 1; `verified` is None until it was merged, `attempts` counts refused submissions."""

    id: int
    project: str
    title: str
    description: str
    role: Role
    deliverable: int | None
    state: TaskState
    assignee: str | None
    branch: str
    base_commit: str | None
    submitted_commit: str | None
    candidate_commit: str | None
    merged_commit: str | None
    tag: str | None
    attempts: int
    summary: str | None
    feedback: str | None
    verified: bool | None
    usage: Usage
    created_at: float
    updated_at: float
    started_at: float | None
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One change of a task's state; `source` is None for the planning of it."""

    id: int
    task: int
    source: TaskState | None
    target: TaskState
    by: str
    reason: str
    created_at: float


@dataclass(frozen=True, slots=True)
class GateRun:
    """One evaluation of a submission; `report` is the JSON that `actors.gate.merging` reads."""

    id: int
    task: int
    commit: str
    candidate: str | None
    verdict: GateVerdict
    report: dict[str, Any]
    started_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class Insight:
    """What an agent found useful for other projects."""

    id: int
    project: str | None
    author: str
    text: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Incident:
    """What went wrong and what was done about it; the keys of `detail` depend on `kind`."""

    id: int
    kind: IncidentKind
    agent: str | None
    project: str | None
    detail: dict[str, Any]
    needs_human: bool
    created_at: float
