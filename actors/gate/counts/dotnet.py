"""dotnet test."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from actors.gate.counts.result import NUMBER, TestCounts, number_of

_PROJECT = re.compile(
    rf"(?:Passed|Failed|Skipped)! +- Failed: +{NUMBER}, Passed: +{NUMBER}, Skipped: +{NUMBER}, Total: +\d+"
)
_TOTAL = re.compile(r" *(?:Total tests|total): +\d+$")
_NUMBER = re.compile(rf" +(Passed|Failed|Skipped|succeeded|failed|skipped): +{NUMBER}$")
_FAILING = re.compile(r" +Failed (\S+(?:\(.*\))?) \[[^\]]*\]$")


def counts(lines: Sequence[str]) -> Iterator[TestCounts]:
    """One value per project, or per run where each number has a line of its own."""
    block: dict[str, int] = {}
    is_in_block = False
    for line in lines:
        if (found := _PROJECT.match(line)) is not None:
            failed, passed, skipped = (int(number) for number in found.groups())
            yield TestCounts(passed, failed, skipped)
        elif _TOTAL.match(line):
            is_in_block = True
        elif is_in_block and (found := _NUMBER.match(line)) is not None:
            block[found[1].lower()] = block.get(found[1].lower(), 0) + int(found[2])
        else:
            is_in_block = False
    if block:
        yield TestCounts(
            number_of(block, "passed", "succeeded"), number_of(block, "failed"), number_of(block, "skipped")
        )


def failing(lines: Sequence[str]) -> Iterator[str]:
    """Names of failing tests."""
    for line in lines:
        if (found := _FAILING.match(line)) is not None:
            yield found[1]
