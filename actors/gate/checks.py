"""Runs checks, the shell commands that decide whether a commit is good, and judges each result.

A check passes only on evidence that it passed. The evidence is the result files of its test runners, for others
what they printed, else the exit code. `judge` as a table; the first matching row applies:

| how it ended                   | what its result files or output say               | outcome     |
|--------------------------------|---------------------------------------------------|-------------|
| not started, timed out, killed | anything                                          | did_not_run |
| exit 126, 127 or above 128     | anything                                          | did_not_run |
| any exit                       | a result file that its runner did not finish      | did_not_run |
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from actors.gate.counts import TestCounts, failing_names, parse_counts, reason_for_none
from actors.gate.counts.result import total_of
from actors.gate.find_checks import FoundChecks, find_checks
from actors.gate.results.folder import ResultFolder
from actors.gate.results.outcomes import TestOutcomes
from actors.gate.results.prepare import could_not_load, prepared, runs_node_tests, unprepared

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
Evidence = Literal["result file", "output", "exit code"]


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
    """One judged check: the `reason` in words, the `failing` tests that were named, the end of the `output`.

    `recorded` are the outcomes of all tests, if the runner left a complete result file. `rewrote` are files that
    decide about checks and that the command changed while it ran.
    """

    command: str
    outcome: Outcome
    reason: str
    exit_code: int
    duration_s: float
    counts: TestCounts | None
    failing: tuple[str, ...]
    output: str
    recorded: TestOutcomes | None = None
    rewrote: tuple[str, ...] = ()

    @property
    def evidence(self) -> Evidence:
        """What the outcome was read from."""
        if self.recorded is not None:
            return "result file"
        return "exit code" if self.counts is None else "output"


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
    def settings(self) -> tuple[str, ...]:
        """Files of the project that a runner loaded as plugins."""
        return tuple(path for result in self.results if result.recorded for path in result.recorded.settings)

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
    restore: Callable[[], tuple[str, ...]] = tuple,
) -> CheckReport:
    """Run all commands in the worktree, one after the other. A failure does not stop the others.

    `restore` is called after each. It puts back what a check must not change, and returns these paths.
    """
    results = []
    for command in commands:
        result = _run_one(worktree, command, run, timeout_s)
        results.append(replace(result, rewrote=restore()))
    return CheckReport(commit, tuple(results))


def judge(command: str, run: CheckRun, recorded: TestOutcomes | None = None) -> CheckResult:
    """Apply the table above. `command` is the check as configured, before `run_checks` adds variables."""
    recorded = recorded if recorded is not None and (recorded.runners or recorded.unfinished) else None
    families = {_FAMILY_OF.get(runner, "") for runner in recorded.runners} if recorded is not None else set()
    counts = parse_counts(run.output, command, families)
    if recorded is not None and recorded.runners:
        counts = total_of([recorded.counts, *([counts] if counts is not None else [])])
    outcome, reason = _outcome(command, run, counts, recorded)
    failing = failing_names(run.output, families) if outcome != "passed" else ()
    if recorded is not None:
        failing = tuple(sorted({*failing, *recorded.having("failed", "error")}))
    return CheckResult(
        command=command,
        outcome=outcome,
        reason=reason,
        exit_code=run.exit_code,
        duration_s=round(run.duration_s, 3),
        counts=counts,
        failing=failing,
        output=_tail(run.output, KEPT_OUTPUT_CHARACTERS),
        recorded=recorded,
    )


def report_from_json(value: Mapping[str, Any]) -> CheckReport:
    """Rebuild a report from the JSON of its `asdict`. Raises KeyError or TypeError for anything else."""
    results = []
    for item in value["results"]:
        counts = None if item["counts"] is None else TestCounts(**item["counts"])
        recorded = None if item.get("recorded") is None else _outcomes_from_json(item["recorded"])
        lists = {name: tuple(item.get(name, ())) for name in ("failing", "rewrote")}
        results.append(CheckResult(**{**item, **lists, "counts": counts, "recorded": recorded}))
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


# Which module of `counts` reads what these runners print. Their result files are read instead.
_FAMILY_OF = {
    "pytest": "python", "unittest": "python", "jest": "javascript", "vitest": "javascript", "mocha": "javascript",
    "node": "tap", "maven": "jvm", "gradle": "jvm", "meson": "native", "dotnet": "dotnet",
}  # fmt: skip


def _run_one(worktree: Path, command: str, run: CheckRunner, timeout_s: float) -> CheckResult:
    folder = ResultFolder(worktree)
    folder.make()
    try:
        with_node = runs_node_tests(command, worktree)
        done = run(
            prepared(command, folder.name, folder.key, reads_node_tests=with_node), worktree, timeout_s
        )
        if done.exit_code != 0 and could_not_load(done.output):
            done = run(unprepared(command), worktree, timeout_s)
        return judge(command, done, folder.read())
    finally:
        folder.remove()


def _outcomes_from_json(value: Mapping[str, Any]) -> TestOutcomes:
    lists = {name: tuple(found) for name, found in value.items() if name != "tests"}
    return TestOutcomes(tests=dict(value["tests"]), **lists)


def _outcome(
    command: str, run: CheckRun, counts: TestCounts | None, recorded: TestOutcomes | None
) -> tuple[Outcome, str]:
    not_ended = _not_ended(run)
    if not_ended is not None:
        return "did_not_run", not_ended
    if recorded is not None and recorded.unfinished:
        names = " and ".join(recorded.unfinished)
        return "did_not_run", f"{names} began but did not finish: its result file has no end"
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


def _tail(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"… {len(text) - limit} earlier characters omitted …\n{text[-limit:]}"
