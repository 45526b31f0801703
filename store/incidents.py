"""What went wrong during the night and what was done about it: the report's and `incidents`' source."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, insert, select

from store.engine import Store, Transaction
from store.prepared import Prepared
from store.schema import facts, incidents

_FACT = Prepared(select(facts.c.value).where(facts.c.name == bindparam("name")))


def record(
    tx: Transaction,
    kind: str,
    *,
    now: float,
    agent: str | None = None,
    project: str | None = None,
    needs_human: bool = False,
    **detail: Any,
) -> int:
    """Write an incident down; `kind` is an event's name such as `agent_quarantined`."""
    values = {
        "kind": kind,
        "agent": agent,
        "project": project,
        "detail": detail,
        "needs_human": needs_human,
        "created_at": now,
    }
    return tx.add(insert(incidents), values)


def listed(store: Store, *, project: str | None = None, most: int = 200) -> list[dict[str, Any]]:
    """The newest incidents, newest first."""
    query = select(incidents).order_by(incidents.c.id.desc()).limit(most)
    if project is not None:
        query = query.where(incidents.c.project == project)
    return store.rows(query)


def counts(store: Store) -> dict[str, int]:
    """How often each kind happened."""
    rows = store.rows(select(incidents.c.kind, func.count().label("n")).group_by(incidents.c.kind))
    return {row["kind"]: row["n"] for row in rows}


def set_fact(tx: Transaction, name: str, value: Any, *, now: float) -> None:
    """Keep one observed fact, such as the sandbox's self-test, in place of the older one."""
    tx.execute(facts.delete().where(facts.c.name == name))
    tx.execute(insert(facts), {"name": name, "value": value, "updated_at": now})


def drop_fact(tx: Transaction, name: str) -> None:
    """What was observed is no longer so; harmless if it never was."""
    tx.execute(facts.delete().where(facts.c.name == name))


def fact(store: Store, name: str) -> Any:
    """The fact's value, None when it was never observed."""
    row = store.row(_FACT, {"name": name})
    return None if row is None else row["value"]
