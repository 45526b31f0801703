"""Every table of the crew's one SQLite file.

Times (`*_at`) are seconds since 1970 in UTC; bodies are JSON. `agents.generation` is the fencing token: each
start of an agent raises it, and a write under an older one is refused (`engine/store.py`).

The columns have the names and the order of the fields in `rows.py`; states and typed JSON are converted by
the column's type in both directions.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from store.rows import ProjectSpec, Usage
from store.schema.columns import Enumerated, Json
from store.states import (
    Activity,
    AgentState,
    EntryKind,
    GateVerdict,
    IncidentKind,
    IntentState,
    MessageState,
    ProjectState,
    Role,
    TaskState,
    TimerState,
)

APPLICATION_ID = 0x4E437277  # "NCrw" in the file's header marks a Nightcrew store
SCHEMA_VERSION = 1  # PRAGMA user_version; equals the number of the newest migration

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[Any]:
    return Column("id", Integer, primary_key=True)


projects = Table(
    "projects",
    metadata,
    Column("name", String, primary_key=True),
    Column("title", String, nullable=False),
    Column("state", Enumerated(ProjectState), nullable=False),
    Column("repository", String, nullable=False),
    Column("branch", String, nullable=False),
    Column("base_branch", String),
    Column("base_commit", String, nullable=False),
    Column("goal", Text, nullable=False),
    Column("spec", Json(ProjectSpec), nullable=False),
    Column("checks", JSON, nullable=False),
    Column("checks_source", String, nullable=False),
    Column("engineers", Integer, nullable=False),
    Column("with_qa", Boolean, nullable=False),
    Column("summary", Text),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
)

agents = Table(
    "agents",
    metadata,
    Column("name", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("role", Enumerated(Role)),
    Column("project", String, ForeignKey("projects.name")),
    Column("wanted", Boolean, nullable=False),
    Column("state", Enumerated(AgentState), nullable=False),
    Column("reason", Text),
    Column("generation", Integer, nullable=False),
    Column("restarts", Integer, nullable=False),
    Column("pid", Integer),
    Column("ready_at", Float),
    Column("paused", Boolean, nullable=False),
    Column("activity", Enumerated(Activity), nullable=False),
    Column("activity_since", Float),
    Column("deadline_at", Float),
    Column("last_progress_at", Float),
    Column("task", Integer),
    Column("context_from", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Index("ix_agents_project", "project"),
)

messages = Table(
    "messages",
    metadata,
    _id(),
    Column("sender", String, nullable=False),
    Column("recipient", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("body", JSON, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("state", Enumerated(MessageState), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("key", String),
    Column("in_reply_to", Integer),
    Column("ready_at", Float, nullable=False),
    Column("claim_generation", Integer),
    Column("error", Text),
    Column("created_at", Float, nullable=False),
    Column("claimed_at", Float),
    Column("handled_at", Float),
    UniqueConstraint("sender", "key"),
    # Index only live rows, so that a mailbox does not slow down as it grows. Written with OR, because
    # SQLite's planner does not see that `state = 'ready'` implies `state IN ('ready', 'claimed')`.
    Index(
        "ix_messages_mailbox",
        "recipient",
        "state",
        text("priority DESC"),
        "id",
        sqlite_where=text("state = 'ready' OR state = 'claimed'"),
    ),
    Index("ix_messages_dead", "id", sqlite_where=text("state = 'dead'")),
    Index("ix_messages_in_reply_to", "in_reply_to", sqlite_where=text("in_reply_to IS NOT NULL")),
)

history = Table(
    "history",
    metadata,
    _id(),
    Column("agent", String, nullable=False),
    Column("kind", Enumerated(EntryKind), nullable=False),
    Column("body", JSON, nullable=False),
    Column("message", Integer),
    Column("task", Integer),
    Column("generation", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Index("ix_history_agent_id", "agent", "id"),
)

intents = Table(
    "intents",
    metadata,
    _id(),
    Column("agent", String, nullable=False),
    Column("reply", Integer, ForeignKey("history.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("tool", String, nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("state", Enumerated(IntentState), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("ended_at", Float),
    UniqueConstraint("agent", "reply", "position"),
)

timers = Table(
    "timers",
    metadata,
    _id(),
    Column("recipient", String, nullable=False),
    Column("note", Text, nullable=False),
    Column("state", Enumerated(TimerState), nullable=False),
    Column("due_at", Float, nullable=False),
    Column("every_s", Float),
    Column("cron", String),
    Column("timezone", String),
    Column("key", String, unique=True),
    Column("created_by", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("fired_at", Float),
    Column("fired_count", Integer, nullable=False),
    Index("ix_timers_due", "due_at", sqlite_where=text("state = 'active'")),
)

tasks = Table(
    "tasks",
    metadata,
    _id(),
    Column("project", String, ForeignKey("projects.name"), nullable=False),
    Column("title", String, nullable=False),
    Column("description", Text, nullable=False),
    Column("role", Enumerated(Role), nullable=False),
    Column("deliverable", Integer),
    Column("state", Enumerated(TaskState), nullable=False),
    Column("assignee", String),
    Column("branch", String, nullable=False),
    Column("base_commit", String),
    Column("submitted_commit", String),
    Column("candidate_commit", String),
    Column("merged_commit", String),
    Column("tag", String),
    Column("attempts", Integer, nullable=False),
    Column("summary", Text),
    Column("feedback", Text),
    Column("verified", Boolean),
    Column("usage", Json(Usage), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Index("ix_tasks_project_state", "project", "state"),
)

task_events = Table(
    "task_events",
    metadata,
    _id(),
    Column("task", Integer, ForeignKey("tasks.id"), nullable=False),
    Column("source", Enumerated(TaskState)),
    Column("target", Enumerated(TaskState), nullable=False),
    Column("by", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Index("ix_task_events_task", "task"),
)

gate_runs = Table(
    "gate_runs",
    metadata,
    _id(),
    Column("task", Integer, ForeignKey("tasks.id"), nullable=False),
    Column("commit", String, nullable=False),
    Column("candidate", String),
    Column("verdict", Enumerated(GateVerdict), nullable=False),
    Column("report", JSON, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float, nullable=False),
    Index("ix_gate_runs_task", "task"),
)

insights = Table(
    "insights",
    metadata,
    _id(),
    Column("project", String),
    Column("author", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)

incidents = Table(
    "incidents",
    metadata,
    _id(),
    Column("kind", Enumerated(IncidentKind), nullable=False),
    Column("agent", String),
    Column("project", String),
    Column("detail", JSON, nullable=False),
    Column("needs_human", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Index("ix_incidents_created_at", "created_at"),
)

facts = Table(
    "facts",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", JSON, nullable=False),
    Column("updated_at", Float, nullable=False),
)
