"""An agent's history written by hand: each call adds one row and returns it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from store.history import Entry
from store.states import EntryKind
from tests.support.stores import NOW


@dataclass
class Tail:
    """Rows with rising ids, as `store.history.tail` gives them."""

    rows: list[Entry] = field(default_factory=list)

    def add(self, kind: EntryKind, /, **body: Any) -> Entry:
        entry = Entry(len(self.rows) + 1, "engineer", kind, body, None, None, NOW)
        self.rows.append(entry)
        return entry

    def system(self, text: str = "You are an engineer.") -> Entry:
        return self.add(EntryKind.SYSTEM, text=text)

    def message(self, text: str = "Do it.") -> Entry:
        return self.add(EntryKind.MESSAGE, sender="pm", kind="text", text=text)

    def reply(
        self, *calls: tuple[str, dict[str, Any]], text: str = "", problems: tuple[str, ...] = ()
    ) -> Entry:
        made = [{"name": name, "arguments": arguments} for name, arguments in calls]
        return self.add(
            EntryKind.REPLY, text=text, calls=made, problems=list(problems), done_reason="stop", cost={}
        )

    def result(self, reply: Entry, position: int = 0, text: str = "ok", *, ok: bool = True) -> Entry:
        tool = reply.body["calls"][position]["name"]
        return self.add(
            EntryKind.TOOL_RESULT,
            reply=reply.id,
            position=position,
            tool=tool,
            text=text,
            ok=ok,
            settled=False,
        )

    def call(self, command: str, text: str = "ok", *, ok: bool = True) -> Entry:
        """A reply with one shell call, and its result."""
        return self.result(self.reply(("shell", {"command": command})), 0, text, ok=ok)

    def nudge(self, reason: str = "loop") -> Entry:
        return self.add(EntryKind.NUDGE, text="Try another way.", reason=reason)

    def note(self) -> Entry:
        return self.add(EntryKind.NOTE, text="paused")
