"""pytest and unittest."""

from __future__ import annotations

import re
from collections.abc import Iterator

from actors.gate.counts.result import TestCounts

_WORDS = r"\d+ [a-z]+(?: [a-z]+)?"
_PYTEST_SUMMARY = re.compile(
    rf"^=*\s*({_WORDS}(?:, {_WORDS})*|no tests (?:ran|collected)) in \d[\d.]*s\b", re.MULTILINE
)
_UNITTEST_SUMMARY = re.compile(
    r"^Ran (\d+) tests? in [\d.]+s\s+(?:OK|FAILED|NO TESTS RAN)(?: \(([^)]*)\))?", re.MULTILINE
)
_FAILING = (
    re.compile(r"^(?:FAILED|ERROR) (\S*(?:\.py|::).*?)(?: - .*)?$", re.MULTILINE),  # pytest
    re.compile(r"^(?:FAIL|ERROR): (\S+ \([^)]*\))", re.MULTILINE),  # unittest
)


def counts(text: str) -> Iterator[TestCounts]:
    """One value per summary line."""
    yield from _pytest(text)
    yield from _unittest(text)


def failing(text: str) -> Iterator[str]:
    """Names of failing tests, and of test files that could not be imported."""
    for pattern in _FAILING:
        yield from pattern.findall(text)


def _pytest(text: str) -> Iterator[TestCounts]:
    for line in _PYTEST_SUMMARY.findall(text):
        number = {word: int(count) for count, word in re.findall(r"(\d+) ([a-z]+)", line)}
        yield TestCounts(
            passed=number.get("passed", 0) + number.get("xpassed", 0),
            failed=number.get("failed", 0),
            skipped=number.get("skipped", 0) + number.get("xfailed", 0),
            errors=number.get("error", 0) + number.get("errors", 0),
        )


def _unittest(text: str) -> Iterator[TestCounts]:
    for total, detail in _UNITTEST_SUMMARY.findall(text):
        number = {
            word: int(count) for word, count in re.findall(r"([a-z ]+)=(\d+)", detail.replace(", ", ","))
        }
        failed = number.get("failures", 0) + number.get("unexpected successes", 0)
        errors = number.get("errors", 0)
        skipped = number.get("skipped", 0) + number.get("expected failures", 0)
        # Each subtest fails on its own, so there can be more failures than tests.
        yield TestCounts(max(0, int(total) - failed - errors - skipped), failed, skipped, errors)
