"""Statements that are compiled once by SQLAlchemy and run by the driver itself.

What SQLAlchemy does around a compiled statement takes 20 to 40 us each time. A message needs a dozen statements,
and that was more than SQLite and the disk take for them. Statements that run seldom go through SQLAlchemy.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ClauseElement, Select, TextualSelect
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

Convert = Callable[[Any], Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Compiled:
    """`fixed`: the values that the statement contains; `write`: conversions of its parameters, by name."""

    sql: str
    fixed: dict[str, Any]
    write: dict[str, Convert]


class Prepared:
    """One Core statement. `columns`: what an INSERT or UPDATE without `values()` of its own sets, by name."""

    def __init__(self, statement: ClauseElement, columns: Iterable[str] = ()) -> None:
        self._statement = statement
        self._columns = tuple(columns)

    # At its first use: a command that runs three statements does not pay for sixty.
    @functools.cached_property
    def _compiled(self) -> _Compiled:
        dialect = _dialect()
        compiled: Any = self._statement.compile(dialect=dialect, column_keys=list(self._columns) or None)
        write: dict[str, Convert] = {
            name: _unless_none(convert)
            for bind, name in compiled.bind_names.items()
            if (convert := _impl(bind.type).bind_processor(dialect)) is not None
        }
        fixed = {
            name: write[name](bind.value) if name in write else bind.value
            for bind, name in compiled.bind_names.items()
            if not bind.required
        }
        return _Compiled(str(compiled), fixed, write)

    def run(self, connection: sqlite3.Connection, values: Mapping[str, Any]) -> sqlite3.Cursor:
        """Execute with `values` for its parameters. Raises `sqlite3.Error`."""
        compiled = self._compiled
        given = {**compiled.fixed, **values}
        for name, convert in compiled.write.items():
            if name in values:
                given[name] = convert(values[name])
        return connection.execute(compiled.sql, given)


class Query(Prepared, Generic[T]):
    """A SELECT whose rows become `make(*columns)`: a row class with the columns' order, or a single column's type."""

    def __init__(self, statement: Select[Any] | TextualSelect, make: Callable[..., T]) -> None:
        super().__init__(statement)
        self._make = make
        self._selected = statement

    @functools.cached_property
    def _conversions(self) -> tuple[tuple[int, Convert], ...]:
        """Position and conversion of each column that is stored in another form."""
        return tuple(
            (position, convert)
            for position, column in enumerate(self._selected.selected_columns)
            if (convert := _impl(column.type).result_processor(_dialect(), None)) is not None
        )

    def fetch(self, connection: sqlite3.Connection, values: Mapping[str, Any]) -> list[T]:
        """All rows of the SELECT. Raises `sqlite3.Error`."""
        return [self._made(row) for row in self.run(connection, values).fetchall()]

    def first(self, connection: sqlite3.Connection, values: Mapping[str, Any]) -> T | None:
        """The first row of the SELECT, or None. Raises `sqlite3.Error`."""
        cursor = self.run(connection, values)
        row = cursor.fetchone()
        cursor.close()  # or the read transaction would stay open
        return None if row is None else self._made(row)

    def _made(self, row: tuple[Any, ...]) -> T:
        if not self._conversions:
            return self._make(*row)
        columns = list(row)
        for position, convert in self._conversions:
            columns[position] = convert(columns[position])
        return self._make(*columns)


def maybe_float(value: float | None) -> float | None:
    """The `make` of a query for a number that may be NULL, such as a minimum."""
    return value


def as_it_is(value: Any) -> Any:
    """The `make` of a query for one JSON value."""
    return value


@functools.cache
def _dialect() -> Dialect:
    """The dialect that all statements share, because it caches the conversions of each type."""
    return sqlite.dialect(paramstyle="named")


def _impl(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    return kind.dialect_impl(_dialect())


def _unless_none(convert: Convert) -> Convert:
    """None is SQL's NULL here, never JSON's."""
    return lambda value: None if value is None else convert(value)
