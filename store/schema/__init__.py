"""Every table of the crew's one SQLite file, and how its columns are stored. Only modules of `store` use it.

`tables.py` imports `rows.py` and `states.py`. The migrations in `store/migrations` make the same tables; a test
compares the two.

    columns        the column types: enums and JSON
"""

from store.schema.tables import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    agents,
    facts,
    gate_runs,
    history,
    incidents,
    insights,
    intents,
    messages,
    metadata,
    projects,
    task_events,
    tasks,
    timers,
)

__all__ = [
    "APPLICATION_ID",
    "SCHEMA_VERSION",
    "agents",
    "facts",
    "gate_runs",
    "history",
    "incidents",
    "insights",
    "intents",
    "messages",
    "metadata",
    "projects",
    "task_events",
    "tasks",
    "timers",
]
