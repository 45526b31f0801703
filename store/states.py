"""The states and kinds that rows may have, as enums. Imports no other module of the project."""

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
    """A project's life; the table of transitions is in `actors/work/lifecycle.py`."""

    ACTIVE = "active"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    ARCHIVED = "archived"

    @property
    def is_live(self) -> bool:
        """Whether the project has not ended; a paused one is live."""
        return self in (ProjectState.ACTIVE, ProjectState.PAUSED)


class AgentState(StrEnum):
    """The state of an actor's process, as the supervisor last saw it."""

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
    """The merge gate's verdict on a submission."""

    PASSED = "passed"
    FAILED = "failed"
    CONFLICT = "conflict"
    NOTHING = "nothing"  # the branch changes no file
    UNVERIFIED = "unverified"  # merged without checks, as the project has none
    ALREADY_MERGED = "already_merged"


class IncidentKind(StrEnum):
    """The kinds of incidents, which the report and `nightcrew incidents` list."""

    AGENT_HUNG = "agent_hung"
    AGENT_QUARANTINED = "agent_quarantined"
    AGENT_RESTARTED = "agent_restarted"
    CLOCK_WAS_SET = "clock_was_set"
    DEAD_LETTER = "dead_letter"
    DISK_HAS_ROOM = "disk_has_room"
    DISK_SHORT = "disk_short"
    DUTY_DONE_BY_CODE = "duty_done_by_code"
    HOUSEKEEPING_FAILED = "housekeeping_failed"
    INFRASTRUCTURE_FAILED = "infrastructure_failed"
    LADDER_CLIMBED = "ladder_climbed"
    MACHINE_SLEPT = "machine_slept"
    MODEL_UNAVAILABLE = "model_unavailable"
    PROJECT_FINISHED = "project_finished"
    PROMPT_CUT = "prompt_cut"
    SUPERVISOR_DIED = "supervisor_died"
    TASK_PARKED = "task_parked"
    VERDICT_MISSING = "verdict_missing"
    WORK_STALLED = "work_stalled"


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
    """The state of a tool call in the journal."""

    INTENDED = "intended"
    DONE = "done"
    UNKNOWN = "unknown"


class TimerState(StrEnum):
    """A timer's life; a recurring one stays ACTIVE."""

    ACTIVE = "active"
    FIRED = "fired"
    CANCELLED = "cancelled"


class Role(StrEnum):
    """What an agent with a model is responsible for; each has a prompt in `actors/roles`."""

    ORCHESTRATOR = "orchestrator"
    PROJECT_MANAGER = "project_manager"
    ENGINEER = "engineer"
    QA = "qa"
    REVIEWER = "reviewer"
    DEVOPS = "devops"
    RESEARCHER = "researcher"
    WRITER = "writer"
