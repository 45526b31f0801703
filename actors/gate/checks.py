"""Runs checks, the shell commands that decide whether a commit is good, and judges each result.

A check passes only on evidence that it passed. `judge` as a table; the first matching row applies:

| how it ended                   | what its output says                              | outcome     |
|--------------------------------|---------------------------------------------------|-------------|
| not started, timed out, killed | anything                                          | did_not_run |
| exit 126, 127 or above 128     | anything                                          | did_not_run |
| exit not 0                     | the test runner itself is missing                 | did_not_run |
| any exit                       | no test ran: zero, all skipped, or stated in words| did_not_run |
| any exit                       | no counts, from a runner that always prints them  | did_not_run |
| exit not 0                     | anything else                                     | failed      |
| exit 0                         | counts: some failed                               | failed      |
| exit 0                         | counts: none failed                               | passed      |
| exit 0                         | no counts: only the exit code can be judged       | passed      |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from actors.gate.counts import TestCounts, failing_names, parse_counts, reason_for_none
from actors.gate.find_checks import FoundChecks, find_checks

__all__ = [
    "CheckReport",
    "CheckResult",
    "CheckRun",
    "CheckRunner",
    "FoundChecks",
    "TestCounts",
    "find_checks",
    "judge",
    "parse_counts",
    "report_from_json",
    "run_checks",
]

DEFAULT_CHECK_TIMEOUT_S = 900.0
KEPT_OUTPUT_CHARACTERS = 12_000

Ending = Literal["exited", "timed_out", "killed", "not_started"]
Outcome = Literal["passed", "failed", "did_not_run"]


@dataclass(frozen=True, slots=True)
class CheckRun:
    """The raw result of one command. `exit_code` is meaningful only if `ending` is `exited`.

    `output` is standard output and standard error in the order written, as complete as possible: test counts
    are read from it.
    """

    command: str
    exit_code: int
    output: str
    duration_s: float
    ending: Ending = "exited"


CheckRunner = Callable[[str, Path, float], CheckRun]
"""Runs a shell command in a folder, with a time limit in seconds. The gate passes one that uses the sandbox."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One judged check: the `reason` in words, the `failing` tests that were named, the end of the `output`."""

    command: str
    outcome: Outcome
    reason: str
    exit_code: int
    duration_s: float
    counts: TestCounts | None
    failing: tuple[str, ...]
    output: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The results of all checks at one commit. `dataclasses.asdict` gives JSON; `report_from_json` reads it back."""

    commit: str
    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Every check passed, and there is at least one."""
        return bool(self.results) and all(result.outcome == "passed" for result in self.results)

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that were run, in order."""
        return tuple(result.command for result in self.results)


def run_checks(
    worktree: Path,
    commands: Sequence[str],
    run: CheckRunner,
    *,
    commit: str = "",
    timeout_s: float = DEFAULT_CHECK_TIMEOUT_S,
) -> CheckReport:
    """Run all commands in the worktree, one after the other. A failure does not stop the others."""
    results = [judge(command, run(_prepared(command), worktree, timeout_s)) for command in commands]
    return CheckReport(commit, tuple(results))


def judge(command: str, run: CheckRun) -> CheckResult:
    """Apply the table above. `command` is the check as configured, before `run_checks` adds options."""
    counts = parse_counts(run.output, command)
    outcome, reason = _outcome(command, run, counts)
    return CheckResult(
        command=command,
        outcome=outcome,
        reason=reason,
        exit_code=run.exit_code,
        duration_s=round(run.duration_s, 3),
        counts=counts,
        failing=failing_names(run.output) if outcome != "passed" else (),
        output=_tail(run.output, KEPT_OUTPUT_CHARACTERS),
    )


def report_from_json(value: Mapping[str, Any]) -> CheckReport:
    """Rebuild a report from the JSON of its `asdict`. Raises KeyError or TypeError for anything else."""
    results = []
    for item in value["results"]:
        counts = None if item["counts"] is None else TestCounts(**item["counts"])
        results.append(CheckResult(**{**item, "counts": counts, "failing": tuple(item["failing"])}))
    return CheckReport(value["commit"], tuple(results))


_RUNNER_MISSING = re.compile(
    r"No module named '?(?:pytest|unittest|nose2)\b|command not found|: not found$|no such (?:sub)?command"
    r"|Missing script: \"?test|No rule to make target ['`]test|executable file not found",
    re.MULTILINE,
)
# These print counts whenever they ran a test. pytest does not with -qq, but it fails if there are no tests.
_ALWAYS_COUNTS = re.compile(
    r"\b(?:unittest|cargo (?:test|nextest)|go test|jest|vitest|mocha|node --test|nose2)\b"
)


def _outcome(command: str, run: CheckRun, counts: TestCounts | None) -> tuple[Outcome, str]:
    not_ended = _not_ended(run)
    if not_ended is not None:
        return "did_not_run", not_ended
    missing = _RUNNER_MISSING.search(run.output) if run.exit_code != 0 and counts is None else None
    if missing is not None:
        return "did_not_run", f"its runner is missing where the checks run ({missing[0].strip()})"
    if counts is not None and counts.ran == 0:
        return "did_not_run", f"all {counts.skipped} tests were skipped" if counts.skipped else "no tests ran"
    none = reason_for_none(run.output) if counts is None else None
    if none is not None:
        return "did_not_run", none
    if counts is None and _ALWAYS_COUNTS.search(command):
        return "did_not_run", f"exit code {run.exit_code}, and its output shows no test that ran"
    said = str(counts) if counts is not None else "exit code only, no tests were counted"
    if run.exit_code != 0:
        return "failed", f"exit code {run.exit_code}; {said}" if counts else f"exit code {run.exit_code}"
    if counts is not None and counts.failed + counts.errors > 0:
        return "failed", f"exit code 0, yet {said}"
    return "passed", said


def _not_ended(run: CheckRun) -> str | None:
    if run.ending == "timed_out":
        return f"stopped at its limit, after {run.duration_s:.0f} s"
    if run.ending == "killed":
        return "killed before it ended"
    if run.ending == "not_started" or run.exit_code == 126:
        return "could not be started"
    if run.exit_code == 127:
        return "command not found (exit code 127)"
    if run.exit_code > 128 or run.exit_code < 0:
        return f"killed by signal {abs(run.exit_code) % 128} (exit code {run.exit_code})"
    return None


# The tests of a deliverable that is not written yet often cannot be imported. pytest would then run no test at
# all, and other deliverables could not be judged. With these options it continues and lists the failures.
_PYTEST_OPTIONS = "--continue-on-collection-errors --maxfail=0 -rfE"
_MAY_RUN_PYTEST = re.compile(r"pytest|py\.test|\b(?:make|tox|nox|just|hatch|poetry|uv|pdm)\b")


def _prepared(command: str) -> str:
    if not _MAY_RUN_PYTEST.search(command):
        return command
    return f'export PYTEST_ADDOPTS="${{PYTEST_ADDOPTS:-}} {_PYTEST_OPTIONS}"\n{command}'


def _tail(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"… {len(text) - limit} earlier characters omitted …\n{text[-limit:]}"
