"""cargo test and cargo nextest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from actors.gate.counts.result import NUMBER, TestCounts

_STARTED = re.compile(rf"running {NUMBER} tests?$")
_LIBTEST = re.compile(rf"test result: \S+ {NUMBER} passed; {NUMBER} failed; {NUMBER} ignored")
_NEXTEST = re.compile(rf"\s*Summary \[[^\]]*\] +\d+(?:/\d+)? tests? run: {NUMBER} passed")
_OTHERS = re.compile(rf", {NUMBER} (failed|skipped|timed out|exec failed)")
_FAILING = (
    re.compile(r"test (.+?) \.\.\. FAILED$"),
    re.compile(r"\s+(?:FAIL|TIMEOUT|SIGABRT|SIGSEGV) \[[^\]]*\] (?:\([^)]*\) )?(\S+ .+)$"),  # nextest
)


def counts(lines: Sequence[str]) -> Iterator[TestCounts]:
    """One value per test binary (cargo test) or run (nextest)."""
    unfinished = 0
    for line in lines:
        if (started := _STARTED.match(line)) is not None:
            # A binary that exits in the middle, even with code 0, prints no result.
            yield from [TestCounts(errors=1)] if unfinished else []
            unfinished = int(started[1])
        elif (found := _LIBTEST.match(line)) is not None:
            unfinished = 0
            passed, failed, ignored = (int(number) for number in found.groups())
            yield TestCounts(passed, failed, ignored)
        elif (found := _NEXTEST.match(line)) is not None:
            words: dict[str, int] = {}
            for number, word in _OTHERS.findall(line):
                words[word] = words.get(word, 0) + int(number)
            skipped = words.pop("skipped", 0)
            yield TestCounts(int(found[1]), sum(words.values()), skipped)
    if unfinished:
        yield TestCounts(errors=1)


def failing(lines: Sequence[str]) -> Iterator[str]:
    """Names of failing tests, as cargo prints them."""
    for line in lines:
        for pattern in _FAILING:
            if (found := pattern.match(line)) is not None:
                yield found[1]
