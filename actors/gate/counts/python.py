"""pytest and unittest, with what is built on them (Django, nose2, Twisted's trial)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from actors.gate.counts.result import NUMBER, TestCounts, number_of, within

_WORDS = r"\d{1,9} [a-z]+(?: [a-z]+)?"
_PYTEST_SUMMARY = re.compile(rf"=*\s*({_WORDS}(?:, {_WORDS})*|no tests (?:ran|collected)) in \d[\d.]*s\b")
_UNITTEST_TOTAL = re.compile(rf"Ran {NUMBER} tests? in [\d.]+s$")
_UNITTEST_END = re.compile(r"(?:OK|FAILED|PASSED|NO TESTS RAN)(?: \(([^)]*)\))?")
_FAILING = (
    re.compile(r"(?:FAILED|ERROR) (\S*(?:\.py|::).*?)(?: - .*)?$"),  # pytest
    re.compile(
        r"(?:\[[^\]]*\] )?SUBFAIL(?:ED)?(?:\([^)]*\)|\[[^\]]*\])* (\S+::\S+)"
    ),  # pytest, for one subtest
    re.compile(r"(?:FAIL|ERROR): (\S+ \([^)]*\))"),  # unittest
)


def counts(lines: Sequence[str]) -> Iterator[TestCounts]:
    """One value per summary."""
    total: int | None = None
    for line in lines:
        if (summary := _PYTEST_SUMMARY.match(line)) is not None:
            yield _pytest(summary[1])
        elif (ran := _UNITTEST_TOTAL.match(line)) is not None:
            total = int(ran[1])
        elif total is not None and (end := _UNITTEST_END.match(line)) is not None:
            yield _unittest(total, end[1] or "")
            total = None


def failing(lines: Sequence[str]) -> Iterator[str]:
    """Names of failing tests, and of test files that could not be imported."""
    for line in lines:
        for pattern in _FAILING:
            if (found := pattern.match(line)) is not None:
                yield found[1]


def _pytest(summary: str) -> TestCounts:
    words = {word: int(count) for count, word in re.findall(r"(\d+) ([a-z]+)", summary)}
    return TestCounts(
        passed=number_of(words, "passed", "xpassed"),
        failed=number_of(words, "failed"),
        skipped=number_of(words, "skipped", "xfailed"),
        errors=number_of(words, "error", "errors"),
        repeats="subtests" in words,
    )


def _unittest(total: int, detail: str) -> TestCounts:
    words = {word.strip(): int(count) for word, count in re.findall(r"([a-z ]+)=(\d{1,9})", detail)}
    return within(
        total,
        failed=number_of(words, "failures", "unexpected successes"),
        skipped=number_of(words, "skipped", "skips", "expected failures"),
        errors=number_of(words, "errors"),
    )
