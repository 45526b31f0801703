"""Detects that a model repeats itself or sends unusable replies. Pure functions on the tail of the history.

| sign                                                    | nudge | stop |
|---------------------------------------------------------|-------|------|
| the same calls with the same results, one after another | 3     | 5    |
| two calls with equal results in alternation             | 6     | 10   |
| failing tool results in a row                           | 5     | 12   |
| unusable replies in a row                               | -     | budget `format_errors` |

The same call with a result that changes is progress and not counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from store.entries import Call, Entry, MessageBody, NudgeBody, ReplyBody, SystemBody, ToolResultBody

REPEATS = (3, 5)
ALTERNATIONS = (6, 10)
FAILURES = (5, 12)
_MOST = max(stop for _, stop in (REPEATS, ALTERNATIONS, FAILURES))
NUDGE_REASON = "loop"


@dataclass(frozen=True, slots=True)
class Nudge:
    """Send the model this text and continue the turn."""

    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The turn is stuck; `reason` says why."""

    reason: str


Finding = Nudge | Exhausted | None


def check_loops(tail: Sequence[Entry]) -> Finding:
    """Check the newest tool results since the last message against the table above."""
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
                f"You {sign} {length} times in a row. Repeating it will not help. Think about what is different "
                "from what you expected and try another way, or say what you need.",
                NUDGE_REASON,
            )
    return None


def format_errors(tail: Sequence[Entry]) -> int:
    """Unusable replies in a row at the end of the tail."""
    count = 0
    for entry in reversed(tail):
        if isinstance(entry.body, ReplyBody):
            if not entry.body.problems or entry.body.calls:
                return count
            count += 1
        elif isinstance(entry.body, MessageBody | ToolResultBody | SystemBody):
            return count
    return count


def nudges(tail: Sequence[Entry], reason: str) -> int:
    """How often the model was nudged for `reason` since its last tool result or message."""
    count = 0
    for entry in reversed(tail):
        if isinstance(entry.body, MessageBody | ToolResultBody | SystemBody):
            return count
        if isinstance(entry.body, NudgeBody) and entry.body.reason == reason:
            count += 1
    return count


@dataclass(frozen=True, slots=True)
class _Result:
    call: str
    text: str
    ok: bool


def _results(tail: Sequence[Entry]) -> list[_Result]:
    """The newest results since the last message, oldest first; at most as many as the table needs."""
    newest: list[ToolResultBody] = []
    calls: dict[int, tuple[Call, ...]] = {}
    wanted: set[int] = set()
    is_collecting = True
    for entry in reversed(tail):
        body = entry.body
        if isinstance(body, SystemBody | MessageBody):
            is_collecting = False
        elif isinstance(body, ToolResultBody) and is_collecting:
            newest.append(body)
            wanted.add(body.reply)
            is_collecting = len(newest) < _MOST
        elif isinstance(body, ReplyBody) and entry.id in wanted:
            calls[entry.id] = body.calls
            wanted.remove(entry.id)
        if not is_collecting and not wanted:
            break
    return [_result(body, calls.get(body.reply, ())) for body in reversed(newest)]


def _result(body: ToolResultBody, calls: Sequence[Call]) -> _Result:
    call = calls[body.position] if body.position < len(calls) else Call(body.tool, {})
    return _Result(json.dumps([call.name, call.arguments], sort_keys=True), body.text, body.ok)


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
