"""Maven, Gradle, JUnit's console launcher, sbt and ScalaTest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from actors.gate.counts.result import NUMBER, TestCounts, number_of

_MAVEN = re.compile(
    rf"(?:\[[A-Z]+\] +)?Tests run: {NUMBER}, Failures: {NUMBER}, Errors: {NUMBER}, Skipped: {NUMBER}"
)
_GRADLE_COMPLETED = re.compile(rf"{NUMBER} tests? completed(?:, {NUMBER} failed)?(?:, {NUMBER} skipped)?")
_GRADLE_TASK = re.compile(r"> Task :(?:\S*:)?(\w*[tT]est)(?: (\S+))?$")
_GRADLE_STATES = ("PASSED", "FAILED", "SKIPPED")
_CONSOLE = re.compile(rf"\[ +{NUMBER} tests (found|successful|failed|skipped|aborted) +\]$")
_SBT = re.compile(
    rf"(?:\[\w+\] )?(?:Passed|Failed|Error): Total {NUMBER}, Failed {NUMBER}, Errors {NUMBER}, Passed {NUMBER}"
)
_NOT_EXECUTED = frozenset({"NO-SOURCE", "UP-TO-DATE", "FROM-CACHE", "SKIPPED"})
_FAILING = re.compile(r"\[ERROR\]\s{1,9}([A-Za-z_][\w$]*(?:\.[\w$]+)+)")  # Maven


def counts(lines: Sequence[str]) -> Iterator[TestCounts]:
    """One value per module or test task. The classes of a Maven module are parts of its own summary."""
    modules: list[TestCounts] = []
    classes: list[TestCounts] = []
    console: dict[str, int] = {}
    for line in lines:
        if (found := _MAVEN.match(line)) is not None:
            total, failed, errors, skipped = (int(number) for number in found.groups())
            summary = TestCounts(max(0, total - failed - errors - skipped), failed, skipped, errors)
            (classes if "Time elapsed" in line else modules).append(summary)
        elif (found := _CONSOLE.match(line)) is not None:
            console[found[2]] = console.get(found[2], 0) + int(found[1])
        elif (found := _SBT.match(line)) is not None:
            _, failed, errors, passed = (int(number) for number in found.groups())
            yield TestCounts(passed, failed, 0, errors)
    yield from modules or classes
    if console:
        yield TestCounts(
            number_of(console, "successful"),
            number_of(console, "failed"),
            number_of(console, "skipped", "aborted"),
        )
    yield from _gradle(lines)


def failing(lines: Sequence[str]) -> Iterator[str]:
    """Names of failing tests."""
    for line in lines:
        if (test := _gradle_test(line)) is not None and test[1] == "FAILED":
            yield test[0]
        elif (found := _FAILING.match(line)) is not None:
            yield found[1]


def skipped_tasks(lines: Sequence[str]) -> bool:
    """Whether Gradle had test tasks and executed none of them: NO-SOURCE, UP-TO-DATE, FROM-CACHE."""
    states = [found[2] for line in lines if (found := _GRADLE_TASK.match(line)) is not None]
    return bool(states) and all(state in _NOT_EXECUTED for state in states)


def _gradle(lines: Sequence[str]) -> Iterator[TestCounts]:
    """Gradle prints totals only if a test failed. Single tests are printed if the build asks for it."""
    summaries = [found for line in lines if (found := _GRADLE_COMPLETED.match(line)) is not None]
    if summaries:
        for found in summaries:
            total, failed, skipped = (int(number or 0) for number in found.groups())
            yield TestCounts(max(0, total - failed - skipped), failed, skipped)
    elif any(_GRADLE_TASK.match(line) for line in lines):
        states = [test[1] for line in lines if (test := _gradle_test(line)) is not None]
        if states:
            yield TestCounts(states.count("PASSED"), states.count("FAILED"), states.count("SKIPPED"))


def _gradle_test(line: str) -> tuple[str, str] | None:
    """The name and the state of a test, from a line such as `AppTest > adds() PASSED`."""
    name, _, state = line.rpartition(" ")
    return (name, state) if state in _GRADLE_STATES and " > " in name and not name.startswith(" ") else None
