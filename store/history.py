"""An agent's conversation, append-only. Only the tail since its last fresh context is ever loaded."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Text, bindparam, func, insert, select, type_coerce, update

from store.engine import Fence, Store, Transaction
from store.entries import Body, Entry, decode
from store.prepared import Prepared
from store.schema import agents, history

_COLUMNS = (
    history.c.id,
    history.c.agent,
    history.c.kind,
    type_coerce(history.c.body, Text).label("body"),  # parsed here, which takes a third less time
    history.c.message,
    history.c.task,
    history.c.created_at,
)
_TAIL = Prepared(
    select(*_COLUMNS)
    .where(history.c.agent == bindparam("agent"), history.c.id >= bindparam("first_id"))
    .order_by(history.c.id)
)
_SINCE = Prepared(
    select(*_COLUMNS)
    .where(history.c.id > bindparam("last_id"))
    .order_by(history.c.id)
    .limit(bindparam("most"))
)
_parse = json.JSONDecoder().raw_decode
_LAST_ID = Prepared(select(func.max(history.c.id).label("id")))
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
    """Add one row under `fence`'s agent and return it; the screen is woken after the commit."""
    added = tx.add(
        _INSERT,
        {
            "agent": fence.agent,
            "kind": body.entry_kind.value,
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
    """Note durable progress: what hang detection judges by."""
    tx.run(_PROGRESS, {"agent_name": agent, "now": now})


def tail(store: Store, agent: str, first_id: int) -> list[Entry]:
    """The rows from `first_id` on, oldest first."""
    return [_entry(row) for row in store.rows(_TAIL, {"agent": agent, "first_id": first_id})]


def by_ids(store: Store, ids: Iterable[int]) -> list[Entry]:
    """The rows with these ids, oldest first."""
    query = select(*_COLUMNS).where(history.c.id.in_(list(ids))).order_by(history.c.id)
    return [_entry(row) for row in store.rows(query)]


def since(store: Store, last_id: int, *, most: int = 500) -> list[Entry]:
    """Rows of all agents after `last_id`: what the screen has not drawn yet."""
    return [_entry(row) for row in store.rows(_SINCE, {"last_id": last_id, "most": most})]


def newest(store: Store, agent: str, *, most: int) -> list[Entry]:
    """The last `most` rows of an agent, oldest first."""
    query = select(*_COLUMNS).where(history.c.agent == agent).order_by(history.c.id.desc()).limit(most)
    return [_entry(row) for row in reversed(store.rows(query))]


def last_id(store: Store) -> int:
    """The newest row's id, 0 when there is none."""
    row = store.row(_LAST_ID)
    return int((row or {}).get("id") or 0)


def _entry(row: dict[str, Any]) -> Entry:
    body = decode(row["kind"], _parse(row["body"])[0])
    return Entry(row["id"], row["agent"], body, row["message"], row["task"], row["created_at"])
