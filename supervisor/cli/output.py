"""How commands print: JSON for programs, lines and tables for people."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click

from supervisor.health.status import iso

__all__ = [
    "for_how_long",
    "is_terminal",
    "iso",
    "local",
    "local_iso",
    "note",
    "plain",
    "print_json",
    "table",
    "times",
]


def local(at: float | None) -> str:
    """UTC seconds in local time, with the date unless it is today; `-` for None."""
    if at is None:
        return "-"
    then = datetime.fromtimestamp(at).astimezone()
    today = datetime.now().astimezone().date()
    return f"{then:%H:%M:%S}" if then.date() == today else f"{then:%Y-%m-%d %H:%M}"


def local_iso(text: str) -> str:
    """The same for a time as `--json` prints it."""
    return local(datetime.fromisoformat(text).timestamp())


def for_how_long(duration_s: float) -> str:
    """`12 s`, `3 min`, `2 h 5 min`, `4 d`."""
    whole = int(max(0.0, duration_s))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d"


def times(count: int) -> str:
    """`once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def print_json(value: Any) -> None:
    """Print the result of a command with `--json`."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def note(text: str) -> None:
    """Print a remark on stderr, which keeps it out of pipes."""
    click.echo(text, err=True)


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """The lines of a table with aligned columns."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max([_width(row[i]) for row in cells] + [len(heads[i])]) for i in range(len(heads))]
    lines = [[head.upper() for head in heads], *cells]
    return [
        "  ".join(_padded(text, width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in lines
    ]


def plain(text: str) -> str:
    """Text from agents without control characters, which a terminal would obey."""
    from actors.text import strip_controls

    return strip_controls(text)


def is_terminal() -> bool:
    return sys.stdout.isatty()


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    text = " ".join(str(value).split())
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf"))


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """The columns that the text takes in a terminal. `_cell` has removed control characters."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth  # not at the top: its import takes 30 ms, and most tables are plain ASCII

    return wcswidth(text)
