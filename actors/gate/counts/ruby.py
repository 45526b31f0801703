"""RSpec, minitest and test-unit, and what prints like them: bats, ExUnit (mix test) and hspec."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from actors.gate.counts.result import NUMBER, TestCounts

_RSPEC = re.compile(
    rf"{NUMBER} examples?, {NUMBER} failures?(?:, {NUMBER} pending)?"
    rf"(?:, {NUMBER} errors? occurred outside of examples)?"
)
_MINITEST = re.compile(
    rf"{NUMBER} (?:runs|tests), \d+ assertions, {NUMBER} failures, {NUMBER} errors, {NUMBER} (?:skips|pendings)"
    rf"(?:, {NUMBER} omissions)?"
)
_EXUNIT = re.compile(
    rf" *(?:{NUMBER} doctests?, )?(?:{NUMBER} propert(?:y|ies), )?{NUMBER} tests?, {NUMBER} failures?"
    rf"(?:, {NUMBER} (?:excluded))?(?:, {NUMBER} (?:invalid))?(?:, {NUMBER} (?:skipped))?"
)
_CUCUMBER = re.compile(rf"{NUMBER} scenarios? \(([^)]*)\)")
_FAILING = (
    re.compile(r"(?:rspec|cucumber) (\S+:\d+|'[^']+')"),
    re.compile(r" +\d+\) test (.+ \([\w.]+\))$"),  # ExUnit
)


def counts(lines: Sequence[str]) -> Iterator[TestCounts]:
    """One value per summary."""
    for line in lines:
        if (found := _RSPEC.match(line)) is not None:
            total, failed, skipped, errors = _integers(found)
            yield TestCounts(max(0, total - failed - skipped), failed, skipped, errors)
        elif (found := _MINITEST.match(line)) is not None:
            total, failed, errors, skipped, omitted = _integers(found)
            skipped += omitted
            yield TestCounts(max(0, total - failed - errors - skipped), failed, skipped, errors)
        elif (found := _EXUNIT.match(line)) is not None:
            doctests, properties, tests, failed, excluded, invalid, skipped = _integers(found)
            skipped += excluded
            passed = doctests + properties + tests - failed - invalid - skipped
            yield TestCounts(max(0, passed), failed, skipped, invalid)
        elif (found := _CUCUMBER.match(line)) is not None:
            words = {word: int(count) for count, word in re.findall(r"(\d{1,9}) ([a-z]+)", found[2])}
            failed = words.get("failed", 0) + words.get("undefined", 0) + words.get("ambiguous", 0)
            yield TestCounts(
                words.get("passed", 0), failed, words.get("skipped", 0) + words.get("pending", 0)
            )


def failing(lines: Sequence[str]) -> Iterator[str]:
    """Names of failing tests, where they stand on one line."""
    for line in lines:
        for pattern in _FAILING:
            if (found := pattern.match(line)) is not None:
                yield found[1]


def _integers(found: re.Match[str]) -> list[int]:
    return [int(number or 0) for number in found.groups()]
