"""Recognises output that says in words that no test ran."""

from __future__ import annotations

import re
from collections.abc import Sequence

from actors.gate.counts import jvm

_WORDS = re.compile(
    r"no tests? (?:ran|found|to run|were (?:run|found|executed)|collected|files? found|executed|defined|matches)"
    r"|no test (?:files?|suites?|is available) (?:found|present|in)|collected 0 items|\[no test files\]"
    r"|no examples found|tests are skipped|result: notests|no tests specified"
    r"|nothing to be done for ['`]?(?:test|check)"
    r"|\b0 tests? (?:found|executed|run|ran)\b|running 0 tests across 0 files",
    re.IGNORECASE,
)
_UP_TO_DATE = re.compile(r"make(?:\[\d+\])?: ['`](\S*(?:test|check)\S*)' is up to date")
_SESSION = re.compile(r"nox > .{0,20}Session (\S+) (?:was )?(successful|failed|skipped|aborted)")
_TOX_ENVIRONMENT = re.compile(r"  ([\w.-]+): (OK|FAIL|SKIP)\b")


def reason_for_none(lines: Sequence[str]) -> str | None:
    """Why no test ran, according to the output; None if it does not say so."""
    for line in lines:
        if (found := _UP_TO_DATE.match(line)) is not None:
            return f"make found `{found[1]}` up to date, so it ran nothing: declare it in .PHONY"
        if _WORDS.search(line):
            return "no tests ran"
    if jvm.skipped_tasks(lines):
        return "no tests ran: Gradle executed no test task"
    for pattern in (_SESSION, _TOX_ENVIRONMENT):
        states = [found[2] for line in lines if (found := pattern.match(line)) is not None]
        if states and all(state in ("skipped", "SKIP") for state in states):
            return "no tests ran: every session was skipped"
    return None
