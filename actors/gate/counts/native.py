"""C and C++: CTest, Meson, GoogleTest, Catch2, doctest and Qt Test."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from actors.gate.counts.result import NUMBER, TestCounts, number_of

_CTEST = re.compile(rf"\d+% tests passed, {NUMBER} tests? failed out of {NUMBER}$")
_CTEST_NOT_RUN = re.compile(r"\t +\d+ - (.+) \((Not Run|Disabled|Skipped)\)$")
_CTEST_FAILED = re.compile(r"\t +\d+ - (.+) \((Failed|Timeout|SEGFAULT|Subprocess aborted|Not Run)\)")
_MESON = re.compile(rf"(Ok|Expected Fail|Fail|Unexpected Pass|Skipped|Ignored|Timeout): +{NUMBER} *$")
_MESON_FAILED = re.compile(r" *\d+/\d+ (.+?) +(?:FAIL|TIMEOUT|ERROR) +[\d.]+s")
_GTEST = re.compile(rf"\[  (PASSED|FAILED|SKIPPED) +\] {NUMBER} tests?(?:,|\.)")
_GTEST_FAILED = re.compile(r"\[  FAILED  \] ([\w/]+\.[\w/]+)(?:,|$)")
_CATCH_OK = re.compile(rf"All tests passed \(\d+ assertions? in {NUMBER} test cases?\)")
_CATCH = re.compile(rf"(?:\[doctest\] )?test cases: +{NUMBER} \| +{NUMBER} passed(?: \| +{NUMBER} failed)?")
_QT = re.compile(rf"Totals: {NUMBER} passed, {NUMBER} failed, {NUMBER} skipped")


def counts(lines: Sequence[str]) -> Iterator[TestCounts]:
    """One value per summary."""
    ctest = [found for line in lines if (found := _CTEST.match(line)) is not None]
    if ctest:
        # With -V it also prints the tests' own output, with the summaries of GoogleTest or Catch2.
        yield from _ctest(lines, ctest)
        return
    meson = [found for line in lines if (found := _MESON.match(line)) is not None]
    if any(found[1] == "Ok" for found in meson):
        yield _meson(meson)
        return
    gtest: dict[str, int] = {}
    for line in lines:
        if (found := _GTEST.match(line)) is not None:
            gtest[found[1]] = gtest.get(found[1], 0) + int(found[2])
        elif (found := _CATCH_OK.match(line)) is not None:
            yield TestCounts(int(found[1]))
        elif (found := _CATCH.match(line)) is not None:
            total, passed, failed = (int(number or 0) for number in found.groups())
            yield TestCounts(passed, failed, max(0, total - passed - failed))
        elif (found := _QT.match(line)) is not None:
            passed, failed, skipped = (int(number) for number in found.groups())
            yield TestCounts(passed, failed, skipped)
    if gtest:
        yield TestCounts(gtest.get("PASSED", 0), gtest.get("FAILED", 0), gtest.get("SKIPPED", 0))


def failing(lines: Sequence[str]) -> Iterator[str]:
    """Names of failing tests."""
    for line in lines:
        for pattern in (_CTEST_FAILED, _MESON_FAILED, _GTEST_FAILED):
            if (found := pattern.match(line)) is not None:
                yield found[1]


def _ctest(lines: Sequence[str], summaries: Sequence[re.Match[str]]) -> Iterator[TestCounts]:
    skipped = sum(
        found[2] != "Not Run" for line in lines if (found := _CTEST_NOT_RUN.match(line)) is not None
    )
    for found in summaries:
        failed, total = int(found[1]), int(found[2])
        out = min(skipped, max(0, total - failed))
        skipped -= out
        yield TestCounts(max(0, total - failed - out), failed, out)


def _meson(numbers: Sequence[re.Match[str]]) -> TestCounts:
    words: dict[str, int] = {}
    for found in numbers:
        words[found[1]] = words.get(found[1], 0) + int(found[2])
    return TestCounts(
        number_of(words, "Ok"),
        number_of(words, "Fail", "Unexpected Pass", "Timeout"),
        number_of(words, "Skipped", "Ignored", "Expected Fail"),
    )
