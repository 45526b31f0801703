"""The value that every parser returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NUMBER = r"(\d{1,9})"  # Python refuses to convert numbers of more than 4,300 digits


@dataclass(frozen=True, slots=True)
class TestCounts:
    """Number of tests in one check, by outcome. Expected failures count as skipped: neither proves anything.

    `errors` are tests that broke before they could fail, and files that could not be loaded.
    `repeats` is True if one test may be in `failed` several times, once for each of its subtests.
    """

    __test__ = False  # the name makes pytest take it for a test class

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    errors: int = 0
    repeats: bool = False

    @property
    def total(self) -> int:
        """Every test that the runner found."""
        return self.passed + self.failed + self.skipped + self.errors

    @property
    def ran(self) -> int:
        """Every test that was not skipped."""
        return self.passed + self.failed + self.errors

    @property
    def owed(self) -> int:
        """The fewest tests that a later run must find. Errors may not be tests, so they need not remain."""
        return self.passed + self.skipped + (min(self.failed, 1) if self.repeats else self.failed)

    def __str__(self) -> str:
        parts = [f"{self.passed} passed", f"{self.failed} failed"]
        parts += [f"{self.errors} errors"] if self.errors else []
        parts += [f"{self.skipped} skipped"] if self.skipped else []
        return ", ".join(parts)


def total_of(found: Iterable[TestCounts]) -> TestCounts:
    """The sum of several summaries."""
    counts = list(found)
    return TestCounts(
        passed=sum(one.passed for one in counts),
        failed=sum(one.failed for one in counts),
        skipped=sum(one.skipped for one in counts),
        errors=sum(one.errors for one in counts),
        repeats=any(one.repeats for one in counts),
    )


def within(total: int, failed: int, skipped: int, errors: int = 0) -> TestCounts:
    """Counts for a runner that prints the total. What does not fit into the total is of subtests or set-up.

    A failure is kept even if the total has no room for it, because it is one.
    """
    skipped = min(skipped, total)
    failed = min(failed, max(total - skipped, 1))
    errors = min(errors, max(total - skipped - failed, 1))
    return TestCounts(max(0, total - failed - skipped - errors), failed, skipped, errors)


def number_of(words: Mapping[str, int], *names: str) -> int:
    """The sum of the numbers that go with these words."""
    return sum(words.get(name, 0) for name in names)
