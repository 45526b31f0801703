"""PHPUnit. Pest prints like jest and is read by `javascript`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from actors.gate.counts.result import NUMBER, TestCounts, number_of

_OK = re.compile(rf"OK \({NUMBER} tests?, \d+ assertions?\)")
_SUMMARY = re.compile(rf"Tests: {NUMBER}, Assertions: \d+(.*)\.$")
_NO_TESTS_IN_CLASS = 'No tests found in class "'
_FAILING = re.compile(r"\d+\) ([\w\\]+::\w+(?: with data set .+)?)$")


def counts(lines: Sequence[str]) -> Iterator[TestCounts]:
    """One value per summary."""
    # A class without tests is reported as one test with a warning.
    empty_classes = sum(_NO_TESTS_IN_CLASS in line for line in lines)
    for line in lines:
        if (found := _OK.match(line)) is not None:
            yield TestCounts(int(found[1]))
        elif (found := _SUMMARY.match(line)) is not None:
            words = {word: int(number) for word, number in re.findall(r"([A-Z]\w+): (\d{1,9})", found[2])}
            failed, errors = number_of(words, "Failures"), number_of(words, "Errors")
            skipped = number_of(words, "Skipped", "Incomplete")
            passed = int(found[1]) - failed - errors - skipped - empty_classes
            yield TestCounts(max(0, passed), failed, skipped, errors)


def failing(lines: Sequence[str]) -> Iterator[str]:
    """Names of failing tests."""
    for line in lines:
        if (found := _FAILING.match(line)) is not None:
            yield found[1]
