"""Facts: the latest observation of each name, as JSON, such as the sandbox's self-test or the model's hosts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, insert, select

from store.engine import Source, Transaction
from store.engine.prepared import Query
from store.schema import facts


def _as_it_is(value: Any) -> Any:
    return value


_FACT = Query(select(facts.c.value).where(facts.c.name == bindparam("name")), _as_it_is)


def put(tx: Transaction, name: str, value: Any, *, now: float) -> None:
    """Keep `value` under `name`, in place of the older one."""
    tx.execute(facts.delete().where(facts.c.name == name))
    tx.execute(insert(facts), {"name": name, "value": value, "updated_at": now})


def drop(tx: Transaction, name: str) -> None:
    """Forget a fact; harmless if there is none."""
    tx.execute(facts.delete().where(facts.c.name == name))


def get(source: Source, name: str) -> Any:
    """The fact's value, None if there is none."""
    return source.first(_FACT, {"name": name})
