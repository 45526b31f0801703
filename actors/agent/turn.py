"""The pure next step of a turn: what the history's tail asks for.

Bodies, by kind of entry (JSON):

    system       {"text"}                            the role's prompt; a fresh context begins with it
    message      {"sender", "kind", "text"}          what the agent was told
    reply        {"text", "calls": [{"name", "arguments"}], "problems": [str], "done_reason", "cost"}
    tool_result  {"reply", "position", "tool", "text", "ok", "settled"}
    nudge        {"text", "reason"}                  what code says to the model
    summary      {"text", "pinned": [id], "keep_from": id}   a compaction; see `context.py`
    note         {"text"}                            for people only, never in a prompt

A reply's calls are answered in order, one step each; the turn ends with a reply that calls nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from store.history import Entry
from store.states import EntryKind


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
    """The reply could not be used; tell the model why."""

    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EndTurn:
    """The model has said its last word."""

    text: str


Step = AskModel | RunTool | Correct | EndTurn


def next_step(tail: Sequence[Entry]) -> Step:
    """What to do now. `tail` is the agent's history, oldest first; notes do not count."""
    last = next((entry for entry in reversed(tail) if entry.kind is not EntryKind.NOTE), None)
    if last is None:
        return EndTurn("")
    reply = last_reply(tail)
    if reply is None or last.kind in (
        EntryKind.MESSAGE,
        EntryKind.NUDGE,
        EntryKind.SYSTEM,
        EntryKind.SUMMARY,
    ):
        waiting = None if reply is None else unanswered(reply, tail)
        return waiting if waiting is not None else AskModel()
    waiting = unanswered(reply, tail)
    if waiting is not None:
        return waiting
    if reply.body["problems"]:
        return Correct(tuple(reply.body["problems"]))
    if last.kind is EntryKind.TOOL_RESULT:
        return AskModel()
    return EndTurn(reply.body["text"])


def last_reply(entries: Sequence[Entry]) -> Entry | None:
    """The newest reply since the last fresh context."""
    for entry in reversed(entries):
        if entry.kind is EntryKind.REPLY:
            return entry
        if entry.kind is EntryKind.SYSTEM:
            return None
    return None


def unanswered(reply: Entry, entries: Sequence[Entry]) -> RunTool | None:
    """The first call of `reply` that has no result yet."""
    answered: set[int] = set()
    for entry in reversed(entries):
        if entry.id <= reply.id:
            break
        if entry.kind is EntryKind.TOOL_RESULT and entry.body["reply"] == reply.id:
            answered.add(entry.body["position"])
    for position, call in enumerate(reply.body["calls"]):
        if position not in answered:
            return RunTool(reply.id, position, call["name"], call["arguments"])
    return None
