"""go test: plain, with -v, with -json, and gotestsum."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from actors.gate.counts.result import NUMBER, TestCounts, total_of

_BUILD_FAILED = re.compile(r"FAIL\s+(\S+ \[(?:build|setup) failed\])")
_TEST_RESULT = re.compile(r" *--- (PASS|FAIL|SKIP): (\S+)")
_PACKAGE_RESULT = re.compile(r"(ok  |FAIL)\t\S+\t(?!\[)(?!.*\[no tests to run\])")
_NOTHING_TO_RUN = re.compile(r"(?:\?   \t\S+\t|ok  \t.*)\[no test(?:s to run| files)\]")
_GOTESTSUM = re.compile(
    rf"DONE {NUMBER} tests?(?:, {NUMBER} skipped)?(?:, {NUMBER} failures?)?(?:, {NUMBER} errors?)? in "
)
_JSON_EVENT = re.compile(r'\{"(?:Time|ImportPath|Action)":')


def counts(lines: Sequence[str]) -> Iterator[TestCounts]:
    """Counts tests if -v or -json was given, else packages: plain `go test` prints nothing smaller."""
    summaries = [found for line in lines if (found := _GOTESTSUM.match(line)) is not None]
    if summaries:
        for found in summaries:
            total, skipped, failed, errors = (int(number or 0) for number in found.groups())
            yield TestCounts(max(0, total - skipped - failed), failed, skipped, errors)
        return
    events = _events(lines)
    if events:
        yield _from_events(events)
    else:
        yield from _from_text(lines)


def failing(lines: Sequence[str]) -> Iterator[str]:
    """Names of failing tests, and of packages that could not be built."""
    for line in lines:
        if (test := _TEST_RESULT.match(line)) is not None and test[1] == "FAIL":
            yield test[2]
        elif (build := _BUILD_FAILED.match(line)) is not None:
            yield build[1]
    for event in _events(lines):
        if event.get("Action") == "fail" and event.get("Test"):
            yield f"{event.get('Package')}.{event['Test']}"


def _from_text(lines: Sequence[str]) -> Iterator[TestCounts]:
    tests = {"PASS": 0, "FAIL": 0, "SKIP": 0}
    packages = {"ok  ": 0, "FAIL": 0}
    failed_builds = silent_failures = failed_before = 0
    has_nothing_to_run = False
    for line in lines:
        if (test := _TEST_RESULT.match(line)) is not None:
            tests[test[1]] += 1
        elif _BUILD_FAILED.match(line):
            failed_builds += 1
        elif (package := _PACKAGE_RESULT.match(line)) is not None:
            packages[package[1]] += 1
            # A package that fails without a failing test broke outside its tests, in TestMain for example.
            silent_failures += package[1] == "FAIL" and tests["FAIL"] == failed_before
            failed_before = tests["FAIL"]
        else:
            has_nothing_to_run = has_nothing_to_run or _NOTHING_TO_RUN.match(line) is not None
    if tests["PASS"] or tests["SKIP"]:
        errors = failed_builds + silent_failures
        yield TestCounts(tests["PASS"], tests["FAIL"], tests["SKIP"], errors)
    elif sum(packages.values()) or failed_builds:
        yield TestCounts(packages["ok  "], packages["FAIL"], 0, failed_builds)
    elif has_nothing_to_run:
        yield TestCounts()


def _events(lines: Sequence[str]) -> list[dict[str, Any]]:
    """What `go test -json` reported, except the tests' own output."""
    events = []
    for line in lines:
        if _JSON_EVENT.match(line) and '"Action":"output"' not in line:
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict):
                events.append(event)
    return events


def _from_events(events: Sequence[dict[str, Any]]) -> TestCounts:
    found = []
    packages_with_failures = {
        event.get("Package") for event in events if _is(event, "fail") and event.get("Test")
    }
    for event in events:
        if event.get("Test"):
            found.append(TestCounts(_is(event, "pass"), _is(event, "fail"), _is(event, "skip")))
        elif _is(event, "fail") and event.get("Package") not in packages_with_failures:
            found.append(TestCounts(errors=1))
    return total_of(found)


def _is(event: dict[str, Any], action: str) -> bool:
    return event.get("Action") == action
