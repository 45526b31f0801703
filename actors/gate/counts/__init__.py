"""Reads what a test runner printed: how many tests passed, failed or were skipped, and which failed.

One module per family of runners: `python` (pytest, unittest), `rust` (cargo test, nextest), `go`,
`javascript` (jest, vitest, mocha), `tap` (node --test, TAP) and `others` (Maven, and any line such as
"3 passed, 1 failed"). Each has `counts(text)`, and `failing(text)` where the runner names failing tests.
`result` holds the value they return. A command that runs several runners gets the sum. Everything here is
pure and imports only the standard library.
"""

from __future__ import annotations

import re

from actors.gate.counts import go, javascript, others, python, rust, tap
from actors.gate.counts.result import TestCounts, total_of

__all__ = ["TestCounts", "failing_names", "parse_counts", "says_no_tests"]

_FAMILIES = (python, rust, go, javascript, tap)
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\r(?=\n)")
_NO_TESTS = re.compile(
    r"no tests? (?:ran|found|to run|were (?:run|found|executed)|collected|files? found)"
    r"|no test (?:files?|suites?) (?:found|present)|collected 0 items|\[no test files\]"
    r"|nothing to be done for ['`]?(?:test|check)",
    re.IGNORECASE,
)


def parse_counts(output: str) -> TestCounts | None:
    """The counts in a runner's output, or None if there are none. "No tests ran" gives zeros."""
    text = _ESCAPES.sub("", output)
    found = [counts for family in _FAMILIES for counts in family.counts(text)]
    found = found or [*others.counts(text)]
    return total_of(found) if found else None


def failing_names(output: str) -> tuple[str, ...]:
    """Names of the failing tests that the output lists, sorted. Empty if the runner does not name them."""
    text = _ESCAPES.sub("", output)
    return tuple(sorted({name.strip() for family in _FAMILIES for name in family.failing(text)}))


def says_no_tests(output: str) -> bool:
    """Whether the output says in words that there was no test to run."""
    return _NO_TESTS.search(_ESCAPES.sub("", output)) is not None
