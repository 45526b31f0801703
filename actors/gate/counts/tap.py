"""`node --test`, Perl's prove, and any runner that writes TAP (testanything.org)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from actors.gate.counts.result import NUMBER, TestCounts, number_of

_NODE_SUMMARY = re.compile(rf"(?:[#\u2139]|<!--) (pass|fail|cancelled|skipped|todo) {NUMBER}(?: -->)?$")
_NODE_DOTS = re.compile(r"[.X]{1,20}$")
_TAP_START = re.compile(rf"TAP version \d+|1\.\.{NUMBER}\b")
_TAP_RESULT = re.compile(r"(ok|not ok)\b(.*)$")
_DIRECTIVE = re.compile(r"# {0,9}(?:skip|todo)", re.IGNORECASE)
_PROVE = re.compile(rf"Files=\d+, Tests={NUMBER}, ")
_PROVE_FAILED = re.compile(rf"Failed \d+/\d+ test programs\. {NUMBER}/\d+ subtests failed")
_FAILING = (
    re.compile(r"not ok (?:\d+ )?(?:- )?((?:(?! # ?(?:TODO|SKIP)).)+)$", re.IGNORECASE),
    re.compile(r" *✖ (.+?) \([\d.]+ms\)$"),  # node --test, its default reporter
)


def counts(lines: Sequence[str]) -> Iterator[TestCounts]:
    """Node's summaries if there are any, else the sum of the TAP lines, else prove's summary."""
    summary = [found for line in lines if (found := _NODE_SUMMARY.match(line)) is not None]
    if summary:
        yield _node(summary)
    elif any(_TAP_START.match(line) for line in lines):
        yield _tap(lines)
    else:
        yield from _prove(lines)


def counts_of_dots(lines: Sequence[str]) -> TestCounts | None:
    """What node's reporter `dot` prints: `.` for a test that passed, `X` for one that failed."""
    dots = "".join(line for line in lines if _NODE_DOTS.match(line))
    return TestCounts(dots.count("."), dots.count("X")) if dots else None


def failing(lines: Sequence[str]) -> Iterator[str]:
    """Names of failing tests."""
    for line in lines:
        for pattern in _FAILING:
            if (found := pattern.match(line)) is not None:
                yield found[1]


def _node(summary: Sequence[re.Match[str]]) -> TestCounts:
    words: dict[str, int] = {}
    for found in summary:
        words[found[1]] = words.get(found[1], 0) + int(found[2])
    failed = number_of(words, "fail", "cancelled")
    return TestCounts(words.get("pass", 0), failed, number_of(words, "skipped", "todo"))


def _tap(lines: Sequence[str]) -> TestCounts:
    passed = failed = excused = planned = errors = 0
    for line in lines:
        if (start := _TAP_START.match(line)) is not None:
            planned += int(start[1] or 0)
        elif (result := _TAP_RESULT.match(line)) is not None:
            if _DIRECTIVE.search(result[2]):
                excused += 1
            elif result[1] == "ok":
                passed += 1
            else:
                failed += 1
        elif line.startswith("Bail out!"):
            errors += 1
    # A plan for more tests than were reported: the runner ended in the middle.
    errors += planned > passed + failed + excused
    return TestCounts(passed, failed, excused, errors)


def _prove(lines: Sequence[str]) -> Iterator[TestCounts]:
    failed = 0
    for line in lines:
        if (found := _PROVE_FAILED.match(line)) is not None:
            failed = int(found[1])
        elif (found := _PROVE.match(line)) is not None:
            yield TestCounts(max(0, int(found[1]) - failed), failed)
            failed = 0
