"""Maven, and any runner that prints a line such as "3 passed, 1 failed". Used if no other family fits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from actors.gate.counts.result import TestCounts

_MAVEN = re.compile(r"^.*Tests run: (\d+), Failures: (\d+), Errors: (\d+), Skipped: (\d+)", re.MULTILINE)
_PASSED = re.compile(r"\b\d+ (?:tests? )?pass(?:ed)?\b")
_NUMBERS = re.compile(r"(\d+) (?:tests? )?([a-z]+)")


def counts(text: str) -> Iterator[TestCounts]:
    """The last summary: earlier ones are usually parts of it."""
    maven = _MAVEN.findall(text)
    if maven:
        total, failed, errors, skipped = (int(number) for number in maven[-1])
        yield TestCounts(total - failed - errors - skipped, failed, skipped, errors)
        return
    lines = [line for line in text.splitlines() if _PASSED.search(line)]
    for line in lines[-1:]:
        number = {word: int(count) for count, word in _NUMBERS.findall(line)}
        yield TestCounts(
            number.get("passed", 0) + number.get("pass", 0),
            number.get("failed", 0) + number.get("fail", 0),
            number.get("skipped", 0) + number.get("ignored", 0),
            number.get("errors", 0) + number.get("error", 0),
        )
