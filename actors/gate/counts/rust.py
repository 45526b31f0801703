"""cargo test and cargo nextest."""

from __future__ import annotations

import re
from collections.abc import Iterator

from actors.gate.counts.result import TestCounts

_LIBTEST = re.compile(r"^test result: \S+ (\d+) passed; (\d+) failed; (\d+) ignored", re.MULTILINE)
_NEXTEST = re.compile(
    r"^\s*Summary \[.*?\] +\d+ tests? run: (\d+) passed(?:.*?, (\d+) failed)?(?:.*?, (\d+) skipped)?",
    re.MULTILINE,
)
_FAILING = re.compile(r"^test (.+?) \.\.\. FAILED$", re.MULTILINE)


def counts(text: str) -> Iterator[TestCounts]:
    """One value per test binary (cargo test) or run (nextest)."""
    for pattern in (_LIBTEST, _NEXTEST):
        for passed, failed, skipped in pattern.findall(text):
            yield TestCounts(int(passed), int(failed or 0), int(skipped or 0))


def failing(text: str) -> Iterator[str]:
    """Names of failing tests, as cargo test prints them."""
    yield from _FAILING.findall(text)
