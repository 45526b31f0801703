"""go test."""

from __future__ import annotations

import re
from collections.abc import Iterator

from actors.gate.counts.result import TestCounts

_BUILD_FAILED = re.compile(r"^FAIL\s+(\S+ \[(?:build|setup) failed\])", re.MULTILINE)
_TEST_RESULT = re.compile(r"^ *--- (PASS|FAIL|SKIP): ", re.MULTILINE)
_PACKAGE_RESULT = re.compile(r"^(ok  |FAIL)\t\S+\t(?!\[)(?!.*\[no tests to run\])", re.MULTILINE)
_NOTHING_TO_RUN = re.compile(r"^(?:\?   \t\S+\t|ok  \t.*)\[no test(?:s to run| files)\]", re.MULTILINE)
_FAILING_TEST = re.compile(r"^ *--- FAIL: (\S+)", re.MULTILINE)


def counts(text: str) -> Iterator[TestCounts]:
    """Counts tests if `-v` was given, else packages: plain `go test` prints nothing smaller."""
    failed_builds = len(_BUILD_FAILED.findall(text))
    tests = _TEST_RESULT.findall(text)
    packages = _PACKAGE_RESULT.findall(text)
    if "PASS" in tests or "SKIP" in tests:
        yield TestCounts(tests.count("PASS"), tests.count("FAIL"), tests.count("SKIP"), failed_builds)
    elif packages or failed_builds:
        yield TestCounts(packages.count("ok  "), packages.count("FAIL"), 0, failed_builds)
    elif _NOTHING_TO_RUN.search(text):
        yield TestCounts()


def failing(text: str) -> Iterator[str]:
    """Names of failing tests, and of packages that could not be built."""
    yield from _FAILING_TEST.findall(text)
    yield from _BUILD_FAILED.findall(text)
