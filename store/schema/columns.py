"""Column types: how the states and the typed JSON of `store/rows.py` are stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Generic, Protocol, Self, TypeVar

from sqlalchemy import JSON, String, TypeDecorator
from sqlalchemy.engine import Dialect

State = TypeVar("State", bound=StrEnum)


class Enumerated(String, Generic[State]):
    """An enum's value as text; an unknown one is a `KeyError`."""

    def __init__(self, kind: type[State]) -> None:
        super().__init__()
        self.kind = kind

    # Lookups in a dictionary: they run for each row of each step, and calling the enum takes ten times as long.
    def bind_processor(self, dialect: Dialect) -> Callable[[str | None], str | None]:
        """From the enum to its value."""
        values: dict[str | None, str | None] = {member: member.value for member in self.kind}
        return {**values, None: None}.__getitem__

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[str | None], State | None]:
        """From the value to the enum."""
        members: dict[str | None, State | None] = {member.value: member for member in self.kind}
        return {**members, None: None}.__getitem__


class JsonValue(Protocol):
    """A value that is stored as one JSON object."""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self: ...

    def as_json(self) -> dict[str, Any]: ...


Value = TypeVar("Value", bound=JsonValue)


class Json(TypeDecorator[Value]):
    """A dataclass of `rows.py` as JSON."""

    impl = JSON
    cache_ok = True

    def __init__(self, kind: type[Value]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Value | None, dialect: Dialect) -> dict[str, Any] | None:
        return None if value is None else value.as_json()

    def process_result_value(self, value: dict[str, Any] | None, dialect: Dialect) -> Value | None:
        return None if value is None else self.kind.from_json(value)
