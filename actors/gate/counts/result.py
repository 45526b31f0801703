"""The value that every parser returns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TestCounts:
    """Number of tests in one check, by outcome. Expected failures count as skipped: neither proves anything."""

    __test__ = False  # the name makes pytest take it for a test class

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    errors: int = 0

    @property
    def total(self) -> int:
        """Every test that the runner found."""
        return self.passed + self.failed + self.skipped + self.errors

    @property
    def ran(self) -> int:
        """Every test that was not skipped."""
        return self.passed + self.failed + self.errors

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
    )
