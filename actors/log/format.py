"""Log lines as people read them: on stderr, and in `nightcrew log`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from actors.text import one_line, paint

_COLOURS = {"DEBUG": "grey", "INFO": "green", "WARNING": "orange", "ERROR": "red", "CRITICAL": "red"}
_HEAD = ("time", "level", "source", "pid", "event", "exception")


def format_line(line: str, *, colour: bool = False) -> str:
    """One log line for a person: local time, level, source, event, `key=value`. Other text is kept as it is."""
    try:
        row = json.loads(line)
        at = datetime.fromisoformat(row["time"]).astimezone()
        head = [str(row["level"]), one_line(str(row["source"])), one_line(str(row["event"]))]
    except (ValueError, KeyError, TypeError):
        return one_line(line, 4_000)
    fields = [f"{one_line(key)}={_value(value)}" for key, value in row.items() if key not in _HEAD]
    level = f"{head[0]:<7}"
    if colour:
        level = paint(_COLOURS.get(head[0], "grey"), level)
    text = " ".join([f"{at:%H:%M:%S}", level, *head[1:], *fields])
    return "\n  ".join([text, *map(_traceback_line, str(row.get("exception", "")).splitlines())])


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = one_line(text, 400)
    return json.dumps(text, ensure_ascii=False) if not text or " " in text else text


def _traceback_line(line: str) -> str:
    return one_line(line, 400) if not line.startswith(" ") else "  " + one_line(line, 400)
