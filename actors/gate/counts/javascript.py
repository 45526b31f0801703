"""jest, vitest and mocha. `node --test` is in `tap`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from actors.gate.counts.result import TestCounts

_JEST_OR_VITEST = re.compile(r"^ *Tests:? +(\d+ [a-z]+(?:(?:,| \|) \d+ [a-z]+)*.*)$", re.MULTILINE)
_MOCHA = re.compile(
    r"^ +(\d+) passing\b.*(?:\n+ +(\d+) pending\b.*)?(?:\n+ +(\d+) failing\b.*)?", re.MULTILINE
)
_FAILING = (
    re.compile(r"^ +● (?!Console$)(.+)$", re.MULTILINE),  # jest
    re.compile(r"^ (?:FAIL|\u00d7) +(\S+ > .+?)(?: \d+ms)?$", re.MULTILINE),  # vitest
)


def counts(text: str) -> Iterator[TestCounts]:
    """One value per summary."""
    for line in _JEST_OR_VITEST.findall(text):
        number = {word: int(count) for count, word in re.findall(r"(\d+) ([a-z]+)", line)}
        yield TestCounts(
            number.get("passed", 0),
            number.get("failed", 0),
            number.get("skipped", 0) + number.get("todo", 0) + number.get("pending", 0),
        )
    for passed, pending, failed in _MOCHA.findall(text):
        yield TestCounts(int(passed), int(failed or 0), int(pending or 0))


def failing(text: str) -> Iterator[str]:
    """Names of failing tests."""
    for pattern in _FAILING:
        yield from pattern.findall(text)
