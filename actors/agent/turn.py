"""The next step of a turn, decided from the tail of the agent's history alone.

The calls of a reply are run in order, one in each step. A reply without calls ends the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from store.entries import Entry, NoteBody, ReplyBody, SystemBody, ToolResultBody


@dataclass(frozen=True, slots=True)
class AskModel:
    """Send the prompt and commit the reply."""


@dataclass(frozen=True, slots=True)
class RunTool:
    """Run call number `position` of history row `reply`."""

    reply: int
    position: int
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Correct:
    """Tell the model why its reply could not be used."""

    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EndTurn:
    """End the turn: the model called nothing. `text` is its answer."""

    text: str


Step = AskModel | RunTool | Correct | EndTurn


@dataclass(frozen=True, slots=True)
class Continue:
    """The step was taken, and the turn goes on."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The step has ended the turn, and the end is committed."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """The turn makes no progress in this way. `reason` is for the recovery ladder and for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """The step has failed with `error`; it is to be taken again later."""

    error: Exception


StepResult = Continue | Ended | Stuck
"""What a step returns. What it raises becomes `Retry` at the actor's boundary."""


def next_step(tail: Sequence[Entry]) -> Step:
    """The step to take now. `tail` is the agent's history, oldest first; notes in it are ignored."""
    last = next((entry.body for entry in reversed(tail) if not isinstance(entry.body, NoteBody)), None)
    if last is None:
        return EndTurn("")
    call = next_call(tail)
    if call is not None:
        return call
    newest = _newest_reply(tail)
    if newest is None or not isinstance(last, ReplyBody | ToolResultBody):
        return AskModel()
    _, reply = newest
    if reply.problems:
        return Correct(reply.problems)
    return AskModel() if isinstance(last, ToolResultBody) else EndTurn(reply.text)


def next_call(entries: Sequence[Entry]) -> RunTool | None:
    """The first call of the newest reply that has no result yet; None if there is none.

    Only replies since the last fresh context count.
    """
    newest = _newest_reply(entries)
    if newest is None:
        return None
    row, reply = newest
    answered: set[int] = set()
    for entry in reversed(entries):
        if entry.id <= row:
            break
        if isinstance(entry.body, ToolResultBody) and entry.body.reply == row:
            answered.add(entry.body.position)
    for position, call in enumerate(reply.calls):
        if position not in answered:
            return RunTool(row, position, call.name, call.arguments)
    return None


def _newest_reply(entries: Sequence[Entry]) -> tuple[int, ReplyBody] | None:
    """The newest reply since the last fresh context, with the id of its row."""
    for entry in reversed(entries):
        if isinstance(entry.body, ReplyBody):
            return entry.id, entry.body
        if isinstance(entry.body, SystemBody):
            return None
    return None
