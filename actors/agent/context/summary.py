"""A summary of a context's rows, written by code: which calls were made, and how they ended.

Code needs no tokens, cannot fail, and writes the same text after a restart. Masking and plain records have been
measured to be nearly as good as a model's summary (arXiv 2508.21433).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from actors.agent.context import prompt
from store.entries import Entry, ReplyBody, ToolResultBody

MOST_LINES = 50
LONGEST_LINE = 120
_EARLIER = re.compile(r"- \((\d+) earlier steps\)")


def written_summary(tail: Sequence[Entry], keep_from: int) -> str:
    """One line for each reply and result before `keep_from`; of many, only the newest."""
    # The earlier summary comes first. Its row may lie behind rows that it kept, because it was written after them.
    lines = prompt.compaction(tail).text.splitlines()
    earlier = 0
    if lines and (found := _EARLIER.fullmatch(lines[0])):
        earlier, lines = int(found[1]), lines[1:]
    calls = {e.id: e.body.calls for e in tail if isinstance(e.body, ReplyBody)}
    for entry in tail:
        if entry.id >= keep_from:
            break
        match entry.body:
            case ReplyBody(text=text) if text:
                lines.append(f"- you said: {_short(text)}")
            case ToolResultBody() as result:
                made = calls.get(result.reply, ())
                arguments = made[result.position].arguments if result.position < len(made) else {}
                lines.append(f"- {_call(result.tool, arguments)} -> {_outcome(result)}")
            case _:
                pass
    earlier += max(0, len(lines) - MOST_LINES)
    if earlier:
        lines = [f"- ({earlier} earlier steps)", *lines[-MOST_LINES:]]
    return "\n".join(lines) or "- nothing yet"


def _call(tool: str, arguments: dict[str, object]) -> str:
    subject = arguments.get("command") or arguments.get("path") or arguments.get("to") or ""
    return f"{tool} {_short(str(subject))}".strip()


def _outcome(result: ToolResultBody) -> str:
    lines = result.text.strip().splitlines()
    word = "ok" if result.ok else "failed"
    return f"{word}: {_short(lines[-1])}" if lines else word


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"
