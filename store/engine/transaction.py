"""A write in progress, and the fence: the fencing token that keeps replaced incarnations from writing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, Select

from store.engine.connection import StoreConnection
from store.engine.prepared import Prepared, Query

T = TypeVar("T")
Notify = Callable[[frozenset[str]], None]


@dataclass(frozen=True, slots=True)
class Fence:
    """An agent's name and its incarnation's generation: the fencing token of each of its writes."""

    agent: str
    generation: int


@dataclass(slots=True)
class Transaction:
    """A write in progress. `recipients`: the mailboxes to wake once it has committed."""

    _connection: StoreConnection
    recipients: set[str] = field(default_factory=set)

    @property
    def connection(self) -> Connection:
        """SQLAlchemy's connection, for other SQL; the caller must not begin or end a transaction on it."""
        return self._connection.core

    @property
    def driver(self) -> sqlite3.Connection:
        """The driver's connection, under the same rule as `connection`."""
        return self._connection.driver

    def execute(
        self, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run one Core statement inside this transaction."""
        return self._connection.core.execute(statement, values)

    def run(self, statement: Prepared, values: Mapping[str, Any]) -> int:
        """Run an INSERT, UPDATE or DELETE; returns how many rows it changed."""
        return statement.run(self._connection.driver, values).rowcount

    def add(self, statement: Executable | Prepared, values: Mapping[str, Any]) -> int:
        """Run one INSERT of one row and return the row's id."""
        if isinstance(statement, Prepared):
            return int(statement.run(self._connection.driver, values).lastrowid or 0)
        return int(self._connection.core.execute(statement, values).lastrowid or 0)

    def fetch(self, query: Query[T], values: Mapping[str, Any] | None = None) -> list[T]:
        """All rows of a query as this transaction sees them."""
        return query.fetch(self._connection.driver, values or {})

    def first(self, query: Query[T], values: Mapping[str, Any] | None = None) -> T | None:
        """The first row of a query, or None."""
        return query.first(self._connection.driver, values or {})

    def select(self, statement: Select[Any], make: Callable[..., T]) -> list[T]:
        """The rows of a statement that is not prepared, each as `make(*columns)`."""
        return [make(*row) for row in self._connection.core.execute(statement)]

    def notify(self, recipient: str) -> None:
        """Wake `recipient` after the commit; before it, the recipient would find nothing."""
        self.recipients.add(recipient)
