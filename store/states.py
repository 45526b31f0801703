"""The states of everything durable, as enums. Imports nothing of the project."""

from __future__ import annotations

from enum import StrEnum


class MessageState(StrEnum):
    """A message's life: READY -> CLAIMED -> HANDLED, or back to READY, or DEAD after its last attempt."""

    READY = "ready"
    CLAIMED = "claimed"
    HANDLED = "handled"
    DEAD = "dead"
    CANCELLED = "cancelled"


class TaskState(StrEnum):
    """A task's life, see `store/tasks.py` for the table of transitions."""

    PLANNED = "planned"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    SUBMITTED = "submitted"
    CHECKING = "checking"
    MERGED = "merged"
    PARKED = "parked"


class ProjectState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    ARCHIVED = "archived"


class AgentState(StrEnum):
    """What the supervisor last knew of an actor's process."""

    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    QUARANTINED = "quarantined"
    STOPPED = "stopped"
    ARCHIVED = "archived"


class Activity(StrEnum):
    """What an agent is doing now; each has its own deadline for progress."""

    IDLE = "idle"
    MODEL = "model"
    TOOL = "tool"
    COMMIT = "commit"
    WAITING = "waiting"
    PAUSED = "paused"
    NO_SPACE = "no_space"  # too little disk is left, so the next step waits


class ActorKind(StrEnum):
    """The actors of a crew; a row's `kind` may also be any `module:Class`."""

    AGENT = "agent"
    GATE = "gate"
    TIMER = "timer"
    TMUX = "tmux"


class GateVerdict(StrEnum):
    """What the gate says of a submission."""

    PASSED = "passed"
    FAILED = "failed"
    CONFLICT = "conflict"
    NOTHING = "nothing"  # the branch changes no file
    UNVERIFIED = "unverified"  # merged without checks, as the project has none
    ALREADY_MERGED = "already_merged"


class EntryKind(StrEnum):
    """One row of an agent's history."""

    SYSTEM = "system"
    MESSAGE = "message"
    REPLY = "reply"
    TOOL_RESULT = "tool_result"
    NUDGE = "nudge"
    SUMMARY = "summary"
    NOTE = "note"


class IntentState(StrEnum):
    """A tool journal row: written before the tool runs, settled after it."""

    INTENDED = "intended"
    DONE = "done"
    UNKNOWN = "unknown"


class TimerState(StrEnum):
    ACTIVE = "active"
    FIRED = "fired"
    CANCELLED = "cancelled"


class Role(StrEnum):
    ORCHESTRATOR = "orchestrator"
    PROJECT_MANAGER = "project_manager"
    ENGINEER = "engineer"
    QA = "qa"
    REVIEWER = "reviewer"
    DEVOPS = "devops"
    RESEARCHER = "researcher"
    WRITER = "writer"
