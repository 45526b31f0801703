"""Noticing that a model goes round in circles or has spent its budget: pure, on the history's tail.

| sign                                                    | nudge | stop |
|---------------------------------------------------------|-------|------|
| the same calls with the same results, one after another | 3     | 5    |
| two calls with equal results in alternation             | 6     | 10   |
| failing tool results in a row                           | 5     | 12   |
| unusable replies in a row                               | -     | budget `format_errors` |

Polling is exempt: a call whose result changes is progress.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from store.history import Entry
from store.states import EntryKind

REPEATS = (3, 5)
ALTERNATIONS = (6, 10)
FAILURES = (5, 12)
_MOST = max(stop for _, stop in (REPEATS, ALTERNATIONS, FAILURES))
NUDGE_REASON = "loop"


@dataclass(frozen=True, slots=True)
class Nudge:
    """Say this to the model and go on."""

    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Stop the turn: climb the recovery ladder with this as evidence."""

    reason: str


Finding = Nudge | Exhausted | None


def check_loops(tail: Sequence[Entry]) -> Finding:
    """What the table above says about the newest tool results since the last fresh context."""
    results = _results(tail)
    for length, (soft, hard), sign in (
        (_repeats(results), REPEATS, "made the same call with the same result"),
        (_alternations(results), ALTERNATIONS, "switched between the same two calls with the same results"),
        (_failures(results), FAILURES, "called tools that failed"),
    ):
        if length >= hard:
            return Exhausted(f"{sign} {length} times in a row")
        if length == soft:
            return Nudge(
                f"You {sign} {length} times in a row. That will not help. Think about what is different "
                "from what you expected and try another way, or say what you need.",
                NUDGE_REASON,
            )
    return None


def format_errors(tail: Sequence[Entry]) -> int:
    """Unusable replies in a row at the end of the tail."""
    count = 0
    for entry in reversed(tail):
        if entry.kind is EntryKind.REPLY:
            if not entry.body["problems"] or entry.body["calls"]:
                return count
            count += 1
        elif entry.kind in (EntryKind.MESSAGE, EntryKind.TOOL_RESULT, EntryKind.SYSTEM):
            return count
    return count


def nudges(tail: Sequence[Entry], reason: str) -> int:
    """How often the model was nudged for `reason` since it last used a tool or was told something."""
    count = 0
    for entry in reversed(tail):
        if entry.kind in (EntryKind.MESSAGE, EntryKind.TOOL_RESULT, EntryKind.SYSTEM):
            return count
        if entry.kind is EntryKind.NUDGE and entry.body["reason"] == reason:
            count += 1
    return count


@dataclass(frozen=True, slots=True)
class _Result:
    call: str
    text: str
    ok: bool


def _results(tail: Sequence[Entry]) -> list[_Result]:
    """The newest results since it was last told something, as many as the table asks for, oldest first."""
    newest: list[Entry] = []
    calls: dict[int, list[dict[str, Any]]] = {}
    wanted: set[int] = set()
    looks_on = True
    for entry in reversed(tail):
        if entry.kind in (EntryKind.SYSTEM, EntryKind.MESSAGE):
            looks_on = False
        elif entry.kind is EntryKind.TOOL_RESULT and looks_on:
            newest.append(entry)
            wanted.add(entry.body["reply"])
            looks_on = len(newest) < _MOST
        elif entry.id in wanted:
            calls[entry.id] = entry.body["calls"]
            wanted.remove(entry.id)
        if not looks_on and not wanted:
            break
    return [_result(entry, calls.get(entry.body["reply"], [])) for entry in reversed(newest)]


def _result(entry: Entry, made: Sequence[dict[str, Any]]) -> _Result:
    body = entry.body
    call = made[body["position"]] if body["position"] < len(made) else body["tool"]
    return _Result(json.dumps(call, sort_keys=True), body["text"], body["ok"])


def _repeats(results: Sequence[_Result]) -> int:
    count = 0
    for result in reversed(results):
        if (result.call, result.text) != (results[-1].call, results[-1].text):
            break
        count += 1
    return count


def _alternations(results: Sequence[_Result]) -> int:
    if len(results) < 2 or results[-1] == results[-2]:
        return 0
    count = 0
    for index in range(len(results) - 1, -1, -1):
        if results[index] != results[-1 if (len(results) - 1 - index) % 2 == 0 else -2]:
            break
        count += 1
    return count


def _failures(results: Sequence[_Result]) -> int:
    count = 0
    for result in reversed(results):
        if result.ok:
            break
        count += 1
    return count
