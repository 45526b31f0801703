"""What a test runner's output says: how many tests passed, failed, were skipped, and which failed.

Known: pytest, unittest, cargo test, go test, jest, vitest, mocha, node --test, TAP, and anything that
writes "3 passed, 1 failed" on a line. A command that runs several runners gets the sum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\r(?=\n)")


@dataclass(frozen=True, slots=True)
class TestCounts:
    """Tests of one check. Expected failures count as skipped: they prove as little."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    errors: int = 0

    @property
    def total(self) -> int:
        """Everything the runner found."""
        return self.passed + self.failed + self.skipped + self.errors

    @property
    def ran(self) -> int:
        """Everything but the skipped."""
        return self.passed + self.failed + self.errors

    def __str__(self) -> str:
        parts = [f"{self.passed} passed", f"{self.failed} failed"]
        parts += [f"{self.errors} errors"] if self.errors else []
        parts += [f"{self.skipped} skipped"] if self.skipped else []
        return ", ".join(parts)


def parse_counts(output: str) -> TestCounts | None:
    """The counts in a runner's output, or None if it holds none. "No tests ran" gives zeros."""
    text = _ESCAPES.sub("", output)
    found = [
        *_pytest(text),
        *_unittest(text),
        *_cargo(text),
        *_go(text),
        *_javascript(text),
        *_node_or_tap(text),
    ]
    if not found:
        found = [*_others(text)]
    if not found:
        return None
    return TestCounts(
        passed=sum(counts.passed for counts in found),
        failed=sum(counts.failed for counts in found),
        skipped=sum(counts.skipped for counts in found),
        errors=sum(counts.errors for counts in found),
    )


_FAILING = (
    re.compile(r"^(?:FAILED|ERROR) (\S*(?:\.py|::).*?)(?: - .*)?$", re.MULTILINE),  # pytest
    re.compile(r"^(?:FAIL|ERROR): (\S+ \([^)]*\))", re.MULTILINE),  # unittest
    re.compile(r"^test (.+?) \.\.\. FAILED$", re.MULTILINE),  # cargo
    re.compile(r"^ *--- FAIL: (\S+)", re.MULTILINE),  # go
    re.compile(r"^FAIL\s+(\S+ \[(?:build|setup) failed\])", re.MULTILINE),  # go
    re.compile(
        r"^not ok (?:\d+ )?(?:- )?((?:(?! # ?(?:TODO|SKIP)).)+)$", re.MULTILINE | re.IGNORECASE
    ),  # TAP
    re.compile(r"^ +● (?!Console$)(.+)$", re.MULTILINE),  # jest
    re.compile(r"^ (?:FAIL|\u00d7) +(\S+ > .+?)(?: \d+ms)?$", re.MULTILINE),  # vitest
    re.compile(r"^ *✖ (.+?) \([\d.]+ms\)$", re.MULTILINE),  # node --test
)


def failing_names(output: str) -> tuple[str, ...]:
    """The names of failing tests that the output lists, sorted; empty if the runner names none."""
    text = _ESCAPES.sub("", output)
    return tuple(sorted({found.strip() for pattern in _FAILING for found in pattern.findall(text)}))


_NO_TESTS = re.compile(
    r"no tests? (?:ran|found|to run|were (?:run|found|executed)|collected|files? found)"
    r"|no test (?:files?|suites?) (?:found|present)|collected 0 items|\[no test files\]"
    r"|nothing to be done for ['`]?(?:test|check)",
    re.IGNORECASE,
)


def says_no_tests(output: str) -> bool:
    """Whether the output says in words that there was nothing to run."""
    return _NO_TESTS.search(_ESCAPES.sub("", output)) is not None


def _pytest(text: str) -> Iterator[TestCounts]:
    some = r"\d+ [a-z]+(?: [a-z]+)?"
    summary = rf"^=*\s*({some}(?:, {some})*|no tests (?:ran|collected)) in \d[\d.]*s\b"
    for line in re.findall(summary, text, re.MULTILINE):
        number = {word: int(count) for count, word in re.findall(r"(\d+) ([a-z]+)", line)}
        yield TestCounts(
            passed=number.get("passed", 0) + number.get("xpassed", 0),
            failed=number.get("failed", 0),
            skipped=number.get("skipped", 0) + number.get("xfailed", 0),
            errors=number.get("error", 0) + number.get("errors", 0),
        )


def _unittest(text: str) -> Iterator[TestCounts]:
    for total, detail in re.findall(
        r"^Ran (\d+) tests? in [\d.]+s\s+(?:OK|FAILED|NO TESTS RAN)(?: \(([^)]*)\))?", text, re.MULTILINE
    ):
        number = {
            word: int(count) for word, count in re.findall(r"([a-z ]+)=(\d+)", detail.replace(", ", ","))
        }
        failed = number.get("failures", 0) + number.get("unexpected successes", 0)
        errors = number.get("errors", 0)
        skipped = number.get("skipped", 0) + number.get("expected failures", 0)
        # A subtest fails on its own, so there may be more failures than tests.
        yield TestCounts(max(0, int(total) - failed - errors - skipped), failed, skipped, errors)


def _cargo(text: str) -> Iterator[TestCounts]:
    result = r"^test result: \S+ (\d+) passed; (\d+) failed; (\d+) ignored"
    for passed, failed, ignored in re.findall(result, text, re.MULTILINE):
        yield TestCounts(int(passed), int(failed), int(ignored))
    nextest = (
        r"^\s*Summary \[.*?\] +\d+ tests? run: (\d+) passed(?:.*?, (\d+) failed)?(?:.*?, (\d+) skipped)?"
    )
    for passed, failed, skipped in re.findall(nextest, text, re.MULTILINE):
        yield TestCounts(int(passed), int(failed or 0), int(skipped or 0))


def _go(text: str) -> Iterator[TestCounts]:
    """Tests with `-v`; otherwise packages, since plain `go test` counts nothing else."""
    failed_builds = len(re.findall(r"^FAIL\s+\S+ \[(?:build|setup) failed\]", text, re.MULTILINE))
    verdicts = re.findall(r"^ *--- (PASS|FAIL|SKIP): ", text, re.MULTILINE)
    packages = re.findall(r"^(ok  |FAIL)\t\S+\t(?!\[)(?!.*\[no tests to run\])", text, re.MULTILINE)
    idle = re.search(r"^(?:\?   \t\S+\t|ok  \t.*)\[no test(?:s to run| files)\]", text, re.MULTILINE)
    if "PASS" in verdicts or "SKIP" in verdicts:
        yield TestCounts(
            verdicts.count("PASS"), verdicts.count("FAIL"), verdicts.count("SKIP"), failed_builds
        )
    elif packages or failed_builds:
        yield TestCounts(packages.count("ok  "), packages.count("FAIL"), 0, failed_builds)
    elif idle:
        yield TestCounts()


def _javascript(text: str) -> Iterator[TestCounts]:
    for line in re.findall(r"^ *Tests:? +(\d+ [a-z]+(?:(?:,| \|) \d+ [a-z]+)*.*)$", text, re.MULTILINE):
        number = {word: int(count) for count, word in re.findall(r"(\d+) ([a-z]+)", line)}
        yield TestCounts(
            number.get("passed", 0),
            number.get("failed", 0),
            number.get("skipped", 0) + number.get("todo", 0) + number.get("pending", 0),
        )
    mocha = r"^ +(\d+) passing\b.*(?:\n+ +(\d+) pending\b.*)?(?:\n+ +(\d+) failing\b.*)?"
    for passed, pending, failed in re.findall(mocha, text, re.MULTILINE):
        yield TestCounts(int(passed), int(failed or 0), int(pending or 0))


def _node_or_tap(text: str) -> Iterator[TestCounts]:
    summary = re.findall(r"^[#\u2139] (pass|fail|cancelled|skipped|todo) (\d+)$", text, re.MULTILINE)
    if summary:
        number: dict[str, int] = {}
        for word, count in summary:
            number[word] = number.get(word, 0) + int(count)
        failed = number.get("fail", 0) + number.get("cancelled", 0)
        yield TestCounts(number.get("pass", 0), failed, number.get("skipped", 0) + number.get("todo", 0))
        return
    if not re.search(r"^(?:TAP version \d+|1\.\.\d+)\b", text, re.MULTILINE):
        return
    lines = re.findall(r"^(ok|not ok)\b(.*)$", text, re.MULTILINE)
    excused = [bool(re.search(r"# *(?:skip|todo)", rest, re.IGNORECASE)) for _, rest in lines]
    passed = sum(word == "ok" and not skip for (word, _), skip in zip(lines, excused, strict=True))
    yield TestCounts(passed, len(lines) - passed - sum(excused), sum(excused))


def _others(text: str) -> Iterator[TestCounts]:
    """A line with "N passed" and what else stands on it; the last such line counts."""
    maven = re.findall(
        r"^.*Tests run: (\d+), Failures: (\d+), Errors: (\d+), Skipped: (\d+)", text, re.MULTILINE
    )
    for total, failed, errors, skipped in maven[-1:]:
        passed = int(total) - int(failed) - int(errors) - int(skipped)
        yield TestCounts(passed, int(failed), int(skipped), int(errors))
    lines = [line for line in text.splitlines() if re.search(r"\b\d+ (?:tests? )?pass(?:ed)?\b", line)]
    for line in [] if maven else lines[-1:]:
        number = {word: int(count) for count, word in re.findall(r"(\d+) (?:tests? )?([a-z]+)", line)}
        yield TestCounts(
            number.get("passed", 0) + number.get("pass", 0),
            number.get("failed", 0) + number.get("fail", 0),
            number.get("skipped", 0) + number.get("ignored", 0),
            number.get("errors", 0) + number.get("error", 0),
        )
