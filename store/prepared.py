"""Statements that run for every message and step: written in Core, compiled once, run by the driver itself.

What SQLAlchemy does around a compiled statement costs 20 to 40 us each time. A message takes a dozen statements:
that was more than SQLite and the disk take for them together. All others go through Core's own connection.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ClauseElement, Select
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import TypeEngine

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """`fixed`: values that stand in the statement; `write`, `read`: of those columns that are stored otherwise."""

    sql: str
    fixed: dict[str, Any]
    write: dict[str, Convert]
    names: tuple[str, ...]
    read: tuple[tuple[str, Convert], ...]


class Prepared:
    """One Core statement. `columns`: what an INSERT or UPDATE without `values()` of its own sets, by name."""

    def __init__(self, statement: ClauseElement, columns: Iterable[str] = ()) -> None:
        self._statement = statement
        self._columns = tuple(columns)

    @functools.cached_property
    def _compiled(self) -> _Compiled:
        # At its first use: a command line that runs three statements does not pay for sixty.
        dialect = sqlite.dialect(paramstyle="named")
        compiled: Any = self._statement.compile(dialect=dialect, column_keys=list(self._columns) or None)
        write: dict[str, Convert] = {
            name: _unless_none(convert)
            for bind, name in compiled.bind_names.items()
            if (convert := _impl(bind.type, dialect).bind_processor(dialect)) is not None
        }
        fixed = {
            name: write[name](bind.value) if name in write else bind.value
            for bind, name in compiled.bind_names.items()
            if not bind.required
        }
        selected = self._statement.selected_columns if isinstance(self._statement, Select) else ()
        read = tuple(
            (column.name, convert)
            for column in selected
            if (convert := _impl(column.type, dialect).result_processor(dialect, None)) is not None
        )
        return _Compiled(str(compiled), fixed, write, tuple(c.name for c in selected), read)

    def run(self, connection: sqlite3.Connection, values: Mapping[str, Any]) -> sqlite3.Cursor:
        """Execute with `values` for its parameters. Raises `sqlite3.Error`."""
        compiled = self._compiled
        given = {**compiled.fixed, **values}
        for name, convert in compiled.write.items():
            if name in values:
                given[name] = convert(values[name])
        return connection.execute(compiled.sql, given)

    def rows(self, connection: sqlite3.Connection, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a SELECT, as plain dictionaries. Raises `sqlite3.Error`."""
        compiled = self._compiled
        rows = [
            dict(zip(compiled.names, row, strict=True)) for row in self.run(connection, values).fetchall()
        ]
        for name, convert in compiled.read:
            for row in rows:
                row[name] = convert(row[name])
        return rows


def _impl(kind: TypeEngine[Any], dialect: Any) -> TypeEngine[Any]:
    return kind.dialect_impl(dialect)


def _unless_none(convert: Convert) -> Convert:
    """None is SQL's NULL here, never JSON's."""
    return lambda value: None if value is None else convert(value)
