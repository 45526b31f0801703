"""Prepared statements give and take what Core's own way of running them does."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import bindparam, insert, select, update

from store.engine import Store
from store.engine.prepared import Prepared, Query
from store.errors import StoreError
from store.schema import agents, facts, messages
from tests.support.stores import NOW, add_agent


def _together(*columns: Any) -> tuple[Any, ...]:
    return columns


_ADD = Prepared(insert(facts), ("name", "value", "updated_at"))
_FACT = Query(select(facts).where(facts.c.name == bindparam("name")), _together)


@pytest.mark.parametrize("value", [1, "two", [3, None], {"four": {"5": "ü\U0001f319"}}, True, 0.5, ""])
def test_json_comes_back_as_it_was_given_and_as_core_reads_it(store: Store, value: Any) -> None:
    with store.write() as tx:
        tx.add(_ADD, {"name": "f", "value": value, "updated_at": NOW})
        assert tx.first(_FACT, {"name": "f"}) == ("f", value, NOW)
    assert (
        [store.first(_FACT, {"name": "f"})] == store.select(select(facts), _together) == [("f", value, NOW)]
    )


def test_none_is_null_in_the_database(store: Store) -> None:
    with pytest.raises(StoreError, match="NOT NULL"), store.write() as tx:
        tx.add(_ADD, {"name": "f", "value": None, "updated_at": NOW})


def test_booleans_are_booleans_again(store: Store) -> None:
    add_agent(store, "a")
    change = Prepared(update(agents).where(agents.c.name == bindparam("agent_name")), ("paused", "wanted"))
    with store.write() as tx:
        assert tx.run(change, {"agent_name": "a", "paused": True, "wanted": False}) == 1
    found = store.first(Query(select(agents.c.paused, agents.c.wanted), _together))
    assert found == (True, False)
    assert found[0] is True


def test_values_of_the_statement_itself_and_limits_are_kept(store: Store) -> None:
    for name in "abc":
        add_agent(store, name)
    query = Query(select(agents.c.name).where(agents.c.generation == 0).order_by(agents.c.name).limit(2), str)
    assert store.fetch(query) == ["a", "b"]


def test_a_missing_value_is_an_error_and_no_null(store: Store) -> None:
    with pytest.raises(StoreError, match="recipient"), store.write() as tx:
        tx.add(Prepared(insert(messages), ("sender", "recipient")), {"sender": "human"})


def test_a_statement_is_compiled_once(store: Store) -> None:
    assert store.fetch(_FACT, {"name": "x"}) == []
    compiled = _FACT._compiled
    assert store.fetch(_FACT, {"name": "y"}) == []
    assert _FACT._compiled is compiled
