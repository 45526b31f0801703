"""jest, vitest, mocha, ava, bun, deno, Playwright, Cypress and jasmine. `node --test` is in `tap`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from actors.gate.counts.result import NUMBER, TestCounts, number_of

_SUMMARY = re.compile(
    r" *Tests:? +(\d{1,9} [a-z]+(?:(?:,| \|) \d{1,9} [a-z]+)*|no tests$)"
)  # jest, vitest, Pest
_SUITE_FAILED = re.compile(r" *● Test suite failed to run$")  # jest
_SUITE = re.compile(r" ?(?:FAIL) +(?:\S+ )?(\S+\.[cm]?[jt]sx?)(?: \[ .* \])?(?: \([\d.]+ m?s\))?$")
_FAILED_SUITES = re.compile(rf"[\u23af -]*Failed Suites {NUMBER}\b")  # vitest
_VITEST_ERRORS = re.compile(rf" +Errors +{NUMBER} errors?$")
_BLOCK = re.compile(
    rf" *(?:[\u2713\u2714\u2716\u2717\u2718-] )?{NUMBER}"
    r" (?:tests? |known |uncaught |unhandled )?"
    r"(passing|pending|failing|pass|fail|passed|failed|skip|skipped|todo|error|errors|flaky|interrupted|did not run"
    r"|exceptions?|rejections?|remained pending)(?: \(.*\))?$"
)
_BUN_END = re.compile(r" *Ran \d+ tests? across \d+ files?\.")
_DENO = re.compile(
    rf"(?:ok|FAILED) \| {NUMBER} passed(?: \(\d+ steps?\))? \| {NUMBER} failed"
    rf"(?: \(\d+ steps?\))?(?: \| {NUMBER} ignored)?"
)
_CYPRESS = re.compile(rf" *[│|] (Passing|Failing|Pending|Skipped): +{NUMBER} +[│|]$")
_JASMINE = re.compile(rf"{NUMBER} specs?, {NUMBER} failures?(?:, {NUMBER} pending specs?)?$")
_XML_SUITE = re.compile(r" *<testsuite( [^>]*)>?")
_XML_NUMBER = re.compile(r' (tests|failures|errors|skipped)="(\d{1,9})"')
_FAILING = (
    re.compile(r" +● (?!Console$|Test suite failed to run$)(.+)$"),  # jest
    re.compile(r" (?:FAIL|\u00d7) +(\S+ > .+?)(?: \d+ms)?$"),  # vitest
    re.compile(r"\(fail\) (.+?)(?: \[[\d.]+ms\])?$"),  # bun
    re.compile(r" +\[[\w -]+\] \u203a (\S+:\d+:\d+ \u203a .+)"),  # Playwright, underlined to the right
)
_MAX_JSON_STARTS = 20


def counts(lines: Sequence[str]) -> Iterator[TestCounts]:
    """One value per summary."""
    yield from _jest_and_vitest(lines)
    yield from _blocks(lines)
    yield from _single_lines(lines)
    for report in _json_reports(lines):
        yield from _from_json(report)


def failing(lines: Sequence[str]) -> Iterator[str]:
    """Names of failing tests, and of files that could not be loaded."""
    for line in lines:
        for pattern in _FAILING:
            if (found := pattern.match(line)) is not None:
                yield found[1].rstrip("\u2500 ")
    yield from _unloaded(lines)


def _unloaded(lines: Sequence[str]) -> list[str]:
    """Test files that could not be loaded, each once. jest repeats them in its summary."""
    files: dict[str, None] = {}
    file = ""
    in_failed_suites = False
    for line in lines:
        if (suite := _SUITE.match(line)) is not None:
            file = suite[1]
            if in_failed_suites:
                files[file] = None
        elif _SUITE_FAILED.match(line):
            files[file] = None
        elif _FAILED_SUITES.match(line):
            in_failed_suites = True
        elif "Failed Tests " in line:
            in_failed_suites = False
    return list(files)


def _jest_and_vitest(lines: Sequence[str]) -> Iterator[TestCounts]:
    errors = len(_unloaded(lines))
    found = []
    for line in lines:
        if (summary := _SUMMARY.match(line)) is not None:
            words = {word: int(count) for count, word in re.findall(r"(\d+) ([a-z]+)", summary[1])}
            if words.keys() - {"examples"}:
                skipped = number_of(words, "skipped", "todo", "pending")
                found.append(TestCounts(number_of(words, "passed"), number_of(words, "failed"), skipped))
            else:
                found.append(TestCounts())
        elif (more := _VITEST_ERRORS.match(line)) is not None:
            errors += int(more[1])
    if found or errors:
        yield from found
        yield TestCounts(errors=errors)


def _blocks(lines: Sequence[str]) -> Iterator[TestCounts]:
    """Summaries of one number per line: mocha, ava, bun and Playwright."""
    words: dict[str, int] = {}
    for line in lines:
        if (found := _BLOCK.match(line)) is not None:
            words[found[2]] = words.get(found[2], 0) + int(found[1])
    if number_of(words, "passing", "pass", "passed", "failing", "fail", "failed") or "passing" in words:
        yield TestCounts(
            passed=number_of(words, "passing", "pass", "passed", "flaky"),
            failed=number_of(words, "failing", "fail", "failed", "interrupted"),
            skipped=number_of(words, "pending", "skip", "skipped", "todo", "did not run", "remained pending"),
            errors=number_of(words, "error", "errors", "exception", "exceptions", "rejection", "rejections"),
        )
    elif any(_BUN_END.match(line) for line in lines):
        yield TestCounts(skipped=number_of(words, "skip", "todo"), errors=number_of(words, "error", "errors"))


def _single_lines(lines: Sequence[str]) -> Iterator[TestCounts]:
    cypress: dict[str, int] = {}
    for line in lines:
        if (found := _DENO.match(line)) is not None or (found := _JASMINE.match(line)) is not None:
            first, failed, skipped = (int(number or 0) for number in found.groups())
            is_total = found.re is _JASMINE
            yield TestCounts(max(0, first - failed - skipped) if is_total else first, failed, skipped)
        elif (found := _CYPRESS.match(line)) is not None:
            cypress[found[1]] = cypress.get(found[1], 0) + int(found[2])
        elif (found := _XML_SUITE.match(line)) is not None and 'tests="' in line:
            words = {word: int(number) for word, number in _XML_NUMBER.findall(found[1])}
            failed, skipped, errors = (words.get(name, 0) for name in ("failures", "skipped", "errors"))
            yield TestCounts(
                max(0, words.get("tests", 0) - failed - skipped - errors), failed, skipped, errors
            )
    if cypress:
        skipped = number_of(cypress, "Pending", "Skipped")
        yield TestCounts(number_of(cypress, "Passing"), number_of(cypress, "Failing"), skipped)


def _json_reports(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    """JSON objects in the output that begin on a line of their own. Lines are cut, so long ones are not read."""
    starts = [number for number, line in enumerate(lines) if line.startswith("{")]
    decoder, end = json.JSONDecoder(), -1
    for start in starts[:_MAX_JSON_STARTS]:
        if start < end:
            continue
        text = "\n".join(lines[start:])
        try:
            value, length = decoder.raw_decode(text)
        except (ValueError, RecursionError):
            continue
        end = start + text[:length].count("\n") + 1
        if isinstance(value, dict):
            yield value


def _from_json(report: dict[str, Any]) -> Iterator[TestCounts]:
    """Of jest's and vitest's `json`, and of mocha's."""
    stats = report.get("stats")
    if "numTotalTests" in report:
        yield TestCounts(
            _integer(report, "numPassedTests"),
            _integer(report, "numFailedTests"),
            _integer(report, "numPendingTests") + _integer(report, "numTodoTests"),
            _unloaded_in_json(report),
        )
    elif isinstance(stats, dict) and "passes" in stats:
        passed, failed, skipped = (_integer(stats, name) for name in ("passes", "failures", "pending"))
        yield TestCounts(passed, failed, skipped)


def _unloaded_in_json(report: dict[str, Any]) -> int:
    suites = report.get("testResults")
    if not isinstance(suites, list):
        return _integer(report, "numRuntimeErrorTestSuites")
    return sum(
        isinstance(suite, dict) and suite.get("status") == "failed" and not suite.get("assertionResults")
        for suite in suites
    )


def _integer(value: dict[str, Any], name: str) -> int:
    number = value.get(name)
    return number if isinstance(number, int) and 0 <= number < 10**9 else 0
