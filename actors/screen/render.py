"""Committed history rows as ANSI text. Pure: the tmux actor and `nightcrew history` call it.

One logical line is written as one line, never wrapped here, so that a resized window reflows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actors.text import one_line, strip_controls
from store.states import EntryKind

__all__ = ["Entry", "ReplyParts", "render_entry", "render_live", "reply_parts", "strip_controls"]

# 256-colour indices of middling brightness: contrast at least 3 on white and on black (a test computes it).
COLOURS = {"grey": 244, "blue": 33, "green": 29, "magenta": 133, "orange": 130, "red": 160, "teal": 31}

MAX_LINES = {
    EntryKind.SYSTEM: 12,
    EntryKind.MESSAGE: 200,
    EntryKind.TOOL_RESULT: 40,
    EntryKind.SUMMARY: 100,
}
DEFAULT_MAX_LINES = 100
ARGUMENT_MAX_LINES = 12
MAX_LINE_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One committed history row. `kind` is an `EntryKind` value, `created_at` an aware time in UTC.

    `body` by kind: message {"sender", "kind", "text"}; reply {"text", "calls": [{"name", "arguments"}],
    "cost"}; tool_result {"tool", "ok", "text"}; nudge, summary, note, system {"text"}. A key that is missing
    or of another type is shown as best it can be: a window must not die of a row.
    """

    id: int
    agent: str
    kind: str
    body: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ReplyParts:
    """A reply's block in three: `header + text + tail` is the whole; `text` is what streams live."""

    header: str
    text: str
    tail: str


def render_entry(entry: Entry) -> str:
    """The row as one block of lines, ending in a newline; starts with the local time of day."""
    if entry.kind == EntryKind.REPLY:
        parts = reply_parts(entry)
        return parts.header + parts.text + parts.tail
    limit = (
        MAX_LINES.get(EntryKind(entry.kind), DEFAULT_MAX_LINES) if entry.kind in _KINDS else DEFAULT_MAX_LINES
    )
    return _header(entry.created_at, *_title(entry)) + _shortened(_text(entry.body), limit, entry.agent)


def render_live(fragment: str) -> str:
    """A piece of streaming text, made harmless; no newline is added."""
    return strip_controls(fragment)


def reply_header(agent: str, at: datetime) -> str:
    """The line above a reply, also written when its first token arrives."""
    return _header(at, "blue", f"● {one_line(agent)}")


def reply_parts(entry: Entry) -> ReplyParts:
    """A reply's header, its text (unshortened, surrounding blank space gone) and its calls and cost."""
    text = render_live(_text(entry.body)).strip()
    calls = entry.body.get("calls")
    lines = [_call(call, entry.agent) for call in calls] if isinstance(calls, list) else []
    cost = entry.body.get("cost")
    lines.append(_cost(cost) if isinstance(cost, Mapping) else "")
    tail = "".join(lines)
    return ReplyParts(reply_header(entry.agent, entry.created_at), text + "\n" if text else "", tail)


def paint(colour: str, text: str, *, bold: bool = False) -> str:
    """Our own colour around one line of text that is already harmless."""
    return f"\x1b[{'1;' if bold else ''}38;5;{COLOURS[colour]}m{text}\x1b[0m"


_KINDS = frozenset(EntryKind)


def _header(at: datetime, colour: str, title: str) -> str:
    return f"{paint('grey', f'{at.astimezone():%H:%M:%S}')} {paint(colour, title, bold=True)}\n"


def _title(entry: Entry) -> tuple[str, str]:
    """Colour and heading by kind."""
    body = entry.body
    match entry.kind:
        case EntryKind.MESSAGE:
            kind = one_line(str(body.get("kind") or ""))
            return "teal", f"✉ from {one_line(str(body.get('sender', '?')))}" + (f" · {kind}" if kind else "")
        case EntryKind.TOOL_RESULT:
            tool = one_line(str(body.get("tool", "?")))
            return ("green", f"✓ {tool}") if body.get("ok") else ("red", f"✗ {tool}")
        case EntryKind.NUDGE:
            return "orange", "! nudge"
        case EntryKind.SUMMARY:
            return "magenta", "≡ summary of what went before"
        case EntryKind.NOTE:
            return "grey", "· note"
        case EntryKind.SYSTEM:
            return "grey", "· instructions"
        case _:
            return "grey", f"· {one_line(entry.kind)}"


def _text(body: Mapping[str, Any]) -> str:
    text = body.get("text", "")
    return text if isinstance(text, str) else _json(text)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _shortened(text: str, max_lines: int, agent: str) -> str:
    """Head and tail of the text with a note between that says what is hidden and how to see it."""
    lines = strip_controls(text).strip("\n").split("\n")
    if lines == [""]:
        return ""
    hidden = len(lines) - max_lines
    if hidden > 1:  # hiding one line behind a line of its own gains nothing
        head = max_lines // 2
        note = paint("grey", f"… {hidden} lines hidden; all of it: nightcrew history {one_line(agent)}")
        shown = [*map(_clip, lines[:head]), note, *map(_clip, lines[len(lines) - (max_lines - head) :])]
    else:
        shown = [_clip(line) for line in lines]
    return "\n".join(shown) + "\n"


def _clip(line: str) -> str:
    if len(line) <= MAX_LINE_CHARS:
        return line
    return line[:MAX_LINE_CHARS] + paint("grey", f" … {len(line) - MAX_LINE_CHARS} characters hidden")


def _call(call: object, agent: str) -> str:
    """`→ tool(short arguments)`, long ones below it, shortened."""
    if not isinstance(call, Mapping):
        return paint("magenta", f"→ {one_line(_json(call))}") + "\n"
    arguments = call.get("arguments")
    if not isinstance(arguments, Mapping):
        arguments = {} if arguments is None else {"arguments": arguments}
    short, long = [], []
    for name, value in arguments.items():
        shown = value if isinstance(value, str) else _json(value)
        if "\n" in shown or len(shown) > 160:
            long.append((one_line(str(name)), shown))
        else:
            short.append(f"{one_line(str(name))}={one_line(_json(value), 200)}")
    title = (
        f"→ {one_line(str(call.get('name', '?')))}({', '.join([*short, *(f'{name}=…' for name, _ in long)])})"
    )
    below = "".join(
        paint("grey", f"  {name}:") + "\n" + _shortened(text, ARGUMENT_MAX_LINES, agent)
        for name, text in long
    )
    return paint("magenta", title) + "\n" + below


def _cost(cost: Mapping[str, Any]) -> str:
    """One grey line of what the server reported; nothing where it reported nothing."""
    parts = []
    if isinstance(prompt := cost.get("prompt_tokens"), int):
        cached = cost.get("cached_tokens")
        parts.append(f"{prompt} prompt tokens" + (f" ({cached} cached)" if isinstance(cached, int) else ""))
    if isinstance(generated := cost.get("generated_tokens"), int):
        parts.append(f"{generated} generated")
    if isinstance(total_ms := cost.get("total_ms"), int | float):
        parts.append(f"{total_ms / 1000:.1f} s")
    return paint("grey", "  " + " · ".join(parts)) + "\n" if parts else ""
