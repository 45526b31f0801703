"""The conversation of each agent, append-only. An agent loads only the rows since its last fresh context."""

from __future__ import annotations

import json
from collections.abc import Iterable

from sqlalchemy import Text, bindparam, func, insert, select, type_coerce, update

from store.engine import Fence, Store, Transaction
from store.engine.prepared import Prepared, Query
from store.entries import Body, Entry, decode
from store.schema import agents, history
from store.states import EntryKind

_COLUMNS = (
    history.c.id,
    history.c.agent,
    history.c.kind,
    type_coerce(history.c.body, Text).label("body"),  # parsed here, which takes a third less time
    history.c.message,
    history.c.task,
    history.c.created_at,
)
_parse = json.JSONDecoder().raw_decode


def _entry(
    number: int,
    agent: str,
    kind: EntryKind,
    body: str,
    message: int | None,
    task: int | None,
    created_at: float,
) -> Entry:
    return Entry(number, agent, decode(kind, _parse(body)[0]), message, task, created_at)


_TAIL = Query(
    select(*_COLUMNS)
    .where(history.c.agent == bindparam("agent"), history.c.id >= bindparam("first_id"))
    .order_by(history.c.id),
    _entry,
)
_SINCE = Query(
    select(*_COLUMNS)
    .where(history.c.id > bindparam("last_id"))
    .order_by(history.c.id)
    .limit(bindparam("most")),
    _entry,
)
_NEWEST = Query(
    select(*_COLUMNS)
    .where(history.c.agent == bindparam("agent"))
    .order_by(history.c.id.desc())
    .limit(bindparam("most")),
    _entry,
)
_LAST_ID = Query(select(func.coalesce(func.max(history.c.id), 0)), int)
_INSERT = Prepared(insert(history), ("agent", "kind", "body", "message", "task", "generation", "created_at"))
_PROGRESS = Prepared(
    update(agents).where(agents.c.name == bindparam("agent_name")).values(last_progress_at=bindparam("now"))
)


def append(
    tx: Transaction,
    fence: Fence,
    body: Body,
    *,
    now: float,
    message: int | None = None,
    task: int | None = None,
) -> Entry:
    """Add a row to the history of `fence`'s agent and return it; the screen is woken after the commit."""
    added = tx.add(
        _INSERT,
        {
            "agent": fence.agent,
            "kind": body.entry_kind,
            "body": body.as_json(),
            "message": message,
            "task": task,
            "generation": fence.generation,
            "created_at": now,
        },
    )
    tx.notify("tmux")
    return Entry(added, fence.agent, body, message, task, now)


def touch(tx: Transaction, agent: str, *, now: float) -> None:
    """Record that the agent has made progress; hang detection reads it."""
    tx.run(_PROGRESS, {"agent_name": agent, "now": now})


def tail(store: Store, agent: str, first_id: int) -> list[Entry]:
    """The rows from `first_id` on, oldest first."""
    return store.fetch(_TAIL, {"agent": agent, "first_id": first_id})


def by_ids(store: Store, ids: Iterable[int]) -> list[Entry]:
    """The rows with these ids, oldest first."""
    query = select(*_COLUMNS).where(history.c.id.in_(list(ids))).order_by(history.c.id)
    return store.select(query, _entry)


def since(store: Store, last_id: int, *, most: int = 500) -> list[Entry]:
    """The rows of all agents after `last_id`, oldest first; the screen draws them."""
    return store.fetch(_SINCE, {"last_id": last_id, "most": most})


def newest(store: Store, agent: str, *, most: int) -> list[Entry]:
    """The last `most` rows of an agent, oldest first."""
    return store.fetch(_NEWEST, {"agent": agent, "most": most})[::-1]


def last_id(store: Store) -> int:
    """The id of the newest row, 0 if there is none."""
    return store.first(_LAST_ID) or 0
