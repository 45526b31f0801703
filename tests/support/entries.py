"""An agent's history written by hand: each call adds one row and returns it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from store.entries import (
    Body,
    Call,
    Entry,
    MessageBody,
    NoteBody,
    NudgeBody,
    ReplyBody,
    SystemBody,
    ToolResultBody,
)
from tests.support.stores import NOW


@dataclass
class Tail:
    """Rows with rising ids, as `store.history.tail` gives them."""

    rows: list[Entry] = field(default_factory=list)

    def add(self, body: Body) -> Entry:
        entry = Entry(len(self.rows) + 1, "engineer", body, None, None, NOW)
        self.rows.append(entry)
        return entry

    def system(self, text: str = "You are an engineer.") -> Entry:
        return self.add(SystemBody(text))

    def message(self, text: str = "Do it.") -> Entry:
        return self.add(MessageBody("pm", "text", text))

    def reply(
        self, *calls: tuple[str, dict[str, Any]], text: str = "", problems: tuple[str, ...] = ()
    ) -> Entry:
        return self.add(ReplyBody(text, tuple(Call(*call) for call in calls), problems))

    def result(self, reply: Entry, position: int = 0, text: str = "ok", *, ok: bool = True) -> Entry:
        assert isinstance(reply.body, ReplyBody)
        tool = reply.body.calls[position].name
        return self.add(ToolResultBody(reply.id, position, tool, text, ok))

    def call(self, command: str, text: str = "ok", *, ok: bool = True) -> Entry:
        """A reply with one shell call, and its result."""
        return self.result(self.reply(("shell", {"command": command})), 0, text, ok=ok)

    def nudge(self, reason: str = "loop") -> Entry:
        return self.add(NudgeBody("Try another way.", reason))

    def note(self) -> Entry:
        return self.add(NoteBody("paused"))
