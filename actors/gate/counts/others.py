"""Swift, Dart, Zig, tasty and busted, and any line such as "3 passed, 1 failed" if no other family fits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from actors.gate.counts.result import NUMBER, TestCounts, number_of

_XCTEST = re.compile(
    rf"\s+Executed {NUMBER} tests?, with (?:{NUMBER} tests? skipped and )?{NUMBER} failures?"
)
_SWIFT = re.compile(
    rf"\S+ +Test run with {NUMBER} tests? (?:in \d+ suites? )?(passed|failed) "
    rf"after [\d.]+ seconds(?: with {NUMBER} issues?)?"
)
_DART = re.compile(
    rf"(?:\d+:)?\d\d:\d\d \+{NUMBER}(?: ~{NUMBER})?(?: -{NUMBER})?: (?:All tests (?:passed|skipped)|Some tests failed)"
)
_ALL_PASSED = re.compile(rf"All {NUMBER} tests passed\b")
_TASTY = re.compile(rf"{NUMBER} out of {NUMBER} tests failed\b")
_BUSTED = re.compile(rf"{NUMBER} success(?:es)? / {NUMBER} failures? / {NUMBER} errors? / {NUMBER} pending")
_PASSED = re.compile(r"\b\d{1,9} (?:tests? )?pass(?:ed)?\b")
_FAILED = re.compile(r"\W*\d{1,9} (?:tests? )?fail(?:ed|ures?)?\W*$")
_NUMBERS = re.compile(r"(\d{1,9}) (?:tests? )?([a-z]+)")


def counts(lines: Sequence[str]) -> Iterator[TestCounts]:
    """One value per summary of a known runner."""
    xctest: list[TestCounts] = []
    for line in lines:
        if (found := _XCTEST.match(line)) is not None:
            total, skipped, failed = (int(number or 0) for number in found.groups())
            xctest.append(TestCounts(max(0, total - skipped - failed), failed, skipped))
        elif (found := _SWIFT.match(line)) is not None:
            total, failed = (
                int(found[1]),
                (min(int(found[3] or 1), int(found[1])) if found[2] == "failed" else 0),
            )
            yield TestCounts(total - failed, failed)
        elif (found := _DART.match(line)) is not None:
            passed, skipped, failed = (int(number or 0) for number in found.groups())
            yield TestCounts(passed, failed, skipped)
        elif (found := _ALL_PASSED.match(line)) is not None:
            yield TestCounts(int(found[1]))
        elif (found := _TASTY.match(line)) is not None:
            yield TestCounts(max(0, int(found[2]) - int(found[1])), int(found[1]))
        elif (found := _BUSTED.match(line)) is not None:
            passed, failed, errors, skipped = (int(number) for number in found.groups())
            yield TestCounts(passed, failed, skipped, errors)
    if xctest:
        # It prints one for each class, each bundle, and the whole.
        yield max(xctest, key=lambda summary: summary.total)


def failing(lines: Sequence[str]) -> Iterator[str]:
    """None of these has its names on lines of their own."""
    yield from ()


def unknown(lines: Sequence[str]) -> Iterator[TestCounts]:
    """For a runner that is not known: the sum of all lines with numbers of passed and failed tests."""
    if not any(_PASSED.search(line) for line in lines):
        return
    for line in lines:
        if _PASSED.search(line) or _FAILED.match(line):
            words: dict[str, int] = {}
            for number, word in _NUMBERS.findall(line):
                words[word] = words.get(word, 0) + int(number)
            yield TestCounts(
                number_of(words, "passed", "pass"),
                number_of(words, "failed", "fail", "failure", "failures"),
                number_of(words, "skipped", "ignored"),
                number_of(words, "errors", "error"),
            )
