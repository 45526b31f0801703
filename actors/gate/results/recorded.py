"""Reads the files that our recorders write, and verifies their end mark."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, cast

from actors.gate.results.outcomes import MAX_TESTS, Outcome, TestOutcomes

_OUTCOMES = frozenset({"passed", "failed", "error", "skipped"})


def read_recorded(data: bytes, key: str) -> TestOutcomes:
    """The outcomes in one file. One that is not complete and marked names its runner in `unfinished`."""
    lines = data.splitlines(keepends=True)
    values = [_object(line) for line in lines]
    runner = str(values[0].get("runner", "unknown"))[:40] if values else "unknown"
    end = values[-1].get("end") if values else None
    mark = hmac.new(key.encode(), b"".join(lines[:-1]), hashlib.sha256).hexdigest()
    if not isinstance(end, str) or not hmac.compare_digest(mark.encode(), end.encode()):
        return TestOutcomes(unfinished=(runner,))
    tests: dict[str, Outcome] = {}
    about: dict[str, Any] = {}
    for value in values[1:-1]:
        outcome = value.get("outcome")
        if isinstance(outcome, str) and outcome in _OUTCOMES and len(tests) < MAX_TESTS:
            tests[str(value.get("id"))[:500]] = cast("Outcome", outcome)
        elif "id" not in value:
            about = value
    return TestOutcomes(
        tests,
        (runner,),
        replaced=_names(about, "replaced"),
        shadowing=_names(about, "shadowing"),
        settings=_names(about, "settings"),
    )


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _names(value: dict[str, Any], name: str) -> tuple[str, ...]:
    names = value.get(name)
    return tuple(str(one)[:200] for one in names[:50]) if isinstance(names, list) else ()
