"""Rows of an agent's history as ANSI text, for the tmux actor and `nightcrew history`. Pure functions.

One logical line is written as one line, never wrapped here, so that a resized window reflows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from actors.text import one_line, paint, strip_controls
from store.entries import (
    Body,
    Call,
    Entry,
    MaskBody,
    MessageBody,
    NoteBody,
    NudgeBody,
    ReplyBody,
    ReplyCost,
    SummaryBody,
    SystemBody,
    ToolResultBody,
)
from store.states import EntryKind

__all__ = ["ReplyParts", "render_entry", "render_live", "reply_parts", "strip_controls"]


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
class ReplyParts:
    """The three parts of a reply's text, in order. `text` is the part that streams live."""

    header: str
    text: str
    tail: str


def render_entry(entry: Entry, *, full: bool = False) -> str:
    """The row as lines, the last one ending in a newline. The first starts with the local time of day.

    Long texts are shortened unless `full` is set.
    """
    body = entry.body
    if isinstance(body, ReplyBody):
        parts = reply_parts(entry, body, full=full)
        return parts.header + parts.text + parts.tail
    limit = None if full else MAX_LINES.get(entry.kind, DEFAULT_MAX_LINES)
    return _header(_written_at(entry), *_title(body)) + _shortened(body.text, limit, entry.agent)


def render_live(fragment: str) -> str:
    """A piece of streaming text without control characters. No newline is added."""
    return strip_controls(fragment)


def reply_header(agent: str, at: datetime) -> str:
    """The first line of a reply, written when its first token arrives."""
    return _header(at, "blue", f"● {one_line(agent)}")


def reply_parts(entry: Entry, reply: ReplyBody, *, full: bool = False) -> ReplyParts:
    """The header, the complete text (stripped of white space at both ends), and calls and cost."""
    text = render_live(reply.text).strip()
    tail = "".join(_call(call, entry.agent, full=full) for call in reply.calls) + _cost(reply.cost)
    return ReplyParts(reply_header(entry.agent, _written_at(entry)), text + "\n" if text else "", tail)


def _written_at(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.created_at, UTC)


def _header(at: datetime, colour: str, title: str) -> str:
    return f"{paint('grey', f'{at.astimezone():%H:%M:%S}')} {paint(colour, title, bold=True)}\n"


def _title(body: Body) -> tuple[str, str]:
    """The colour and the heading of a row other than a reply."""
    match body:
        case MessageBody(sender=sender, kind=kind):
            return "teal", f"✉ from {one_line(sender)}" + (f" · {one_line(kind)}" if kind else "")
        case ToolResultBody(tool=tool, ok=ok):
            return ("green", f"✓ {one_line(tool)}") if ok else ("red", f"✗ {one_line(tool)}")
        case NudgeBody():
            return "orange", "! nudge"
        case SummaryBody() | MaskBody():
            return "magenta", "≡ summary of the earlier conversation"
        case NoteBody():
            return "grey", "· note"
        case SystemBody():
            return "grey", "· instructions"
        case ReplyBody():
            raise ValueError("a reply has no title: see reply_header")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _shortened(text: str, max_lines: int | None, agent: str) -> str:
    """The text, or its first and last lines and a note on how to see those in between. None: all of it."""
    lines = strip_controls(text).strip("\n").split("\n")
    if lines == [""]:
        return ""
    if max_lines is None:
        return "\n".join(lines) + "\n"
    hidden = len(lines) - max_lines
    if hidden > 1:  # hiding a single line would save nothing, because the note takes one
        head = max_lines // 2
        note = paint(
            "grey", f"… {hidden} lines hidden; all of it: nightcrew history {one_line(agent)} --full"
        )
        shown = [*map(_clip, lines[:head]), note, *map(_clip, lines[len(lines) - (max_lines - head) :])]
    else:
        shown = [_clip(line) for line in lines]
    return "\n".join(shown) + "\n"


def _clip(line: str) -> str:
    if len(line) <= MAX_LINE_CHARS:
        return line
    return line[:MAX_LINE_CHARS] + paint("grey", f" … {len(line) - MAX_LINE_CHARS} characters hidden")


def _call(call: Call, agent: str, *, full: bool) -> str:
    """`→ tool(short arguments)`, then the long arguments, shortened."""
    short, long = [], []
    for name, value in call.arguments.items():
        shown = value if isinstance(value, str) else _json(value)
        if "\n" in shown or len(shown) > 160:
            long.append((one_line(name), shown))
        else:
            short.append(f"{one_line(name)}={one_line(_json(value), 200)}")
    title = f"→ {one_line(call.name)}({', '.join([*short, *(f'{name}=…' for name, _ in long)])})"
    below = "".join(
        paint("grey", f"  {name}:") + "\n" + _shortened(text, None if full else ARGUMENT_MAX_LINES, agent)
        for name, text in long
    )
    return paint("magenta", title) + "\n" + below


def _cost(cost: ReplyCost) -> str:
    """One grey line with what the server reported; empty if it reported nothing."""
    parts = []
    if cost.prompt_tokens is not None:
        cached = f" ({cost.cached_tokens} cached)" if cost.cached_tokens is not None else ""
        parts.append(f"{cost.prompt_tokens} prompt tokens{cached}")
    if cost.generated_tokens is not None:
        parts.append(f"{cost.generated_tokens} generated")
    if cost.total_ms is not None:
        parts.append(f"{cost.total_ms / 1000:.1f} s")
    return paint("grey", "  " + " · ".join(parts)) + "\n" if parts else ""
