"""A benchmark's result: one figure, what stands beside it, and the bar it is held against. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Beside:
    """A peer's or a limit's figure, in the row's unit and measured in the same run."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Bar:
    """`of` says whether the figure itself or its ratio to what stands beside it is judged."""

    of: Literal["value", "ratio"]
    sign: Literal["<=", ">="]
    limit: float

    def is_met(self, figure: float) -> bool:
        return figure <= self.limit if self.sign == "<=" else figure >= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    `ratio_of` says how the ratio reads: `times` is how many times quicker or smaller (beside / value),
    `share` is value / beside. A row with a bar on its ratio has something beside it.
    """

    name: str
    value: float
    unit: str
    beside: Beside | None = None
    ratio_of: Literal["times", "share"] = "share"
    bar: Bar | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        if self.beside is None:
            return None
        pair = (
            (self.beside.value, self.value) if self.ratio_of == "times" else (self.value, self.beside.value)
        )
        return pair[0] / pair[1] if pair[1] else None

    @property
    def bar_text(self) -> str:
        if self.bar is None:
            return ""
        unit = {"value": self.unit, "ratio": "x"}[self.bar.of]
        return f"{self.bar.sign} {self.bar.limit:g} {unit}"

    @property
    def met(self) -> bool | None:
        """None where there is no bar."""
        figure = self.value if self.bar is None or self.bar.of == "value" else self.ratio
        return None if self.bar is None or figure is None else self.bar.is_met(figure)

    def as_json(self) -> dict[str, Any]:
        ratio = self.ratio
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "beside": None if self.beside is None else self.beside.name,
            "beside_value": None if self.beside is None else round(self.beside.value, 4),
            "ratio": None if ratio is None else round(ratio, 4),
            "ratio_is": {"times": "beside / value", "share": "value / beside"}[self.ratio_of],
            "bar": self.bar_text or None,
            "met": self.met,
            "note": self.note,
        }


def at_most(limit: float) -> Bar:
    """The figure itself must not exceed `limit`."""
    return Bar("value", "<=", limit)


def at_least_times(limit: float) -> Bar:
    """The ratio must reach `limit`."""
    return Bar("ratio", ">=", limit)


def at_most_times(limit: float) -> Bar:
    """The ratio must not exceed `limit`."""
    return Bar("ratio", "<=", limit)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; `share` from 0 to 1. Raises ValueError without values."""
    if not values:
        raise ValueError("no values to take a percentile of")
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def median(values: Sequence[float]) -> float:
    return percentile(values, 0.5)
