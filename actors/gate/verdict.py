"""Whether a candidate may be merged: its checks against those of the state it is merged into.

A spec's deliverables are often given as tests that fail at first and are made to pass one by one, each by
another task. So a check that failed before may go on failing, as long as nothing got worse. Per check:

| base        | candidate                                     | says                               |
|-------------|-----------------------------------------------|------------------------------------|
| anything    | passed, and as many tests as on the base      | passes                             |
| anything    | passed or failed, fewer tests or more skipped | blocks                             |
| anything    | did not run                                   | blocks                             |
| passed      | failed                                        | blocks                             |
| did not run | failed                                        | blocks: nothing to compare with    |
| failed      | failed, no worse                              | failed before, does not block      |
| failed      | failed, worse                                 | blocks                             |

Over all checks: a change that makes nothing pass that failed before, while something still fails, blocks.
So does one that leaves tests failing which are named after a file that it changed (`test_wrap` for
`wrap.py`): a deliverable that is half done would otherwise hide behind what the others have still to do.

"No worse": where both name every failing test, each that fails now failed before (a file that could not be
loaded before stands for all its tests). Else, with counts, no more failures than before. Else the same
exit code. Whatever the checks say, a deleted test file or a test newly marked as skipped blocks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from actors.gate.checks import CheckReport, CheckResult
from actors.gate.tampering import TestChanges


@dataclass(frozen=True, slots=True)
class Verdict:
    """`passed` if nothing blocks. All elements are sentences for the engineer and the report.

    `made_progress` is False if something failed before and nothing of it passes now: then either the task
    is about something else, or it is not done.
    """

    passed: bool
    blocks: tuple[str, ...]
    notes: tuple[str, ...]
    made_progress: bool


def compare(
    base: CheckReport, candidate: CheckReport, changes: TestChanges, *, needs_progress: bool = True
) -> Verdict:
    """The table above over all checks. Both reports are of the same commands.

    `needs_progress` is False for work that no check is about, such as documentation.
    """
    before = {result.command: result for result in base.results}
    blocks = [f"test file deleted: {text}" for text in changes.deleted]
    blocks += [f"test newly skipped: {text}" for text in changes.skips]
    notes = [f"test skipped on a condition: {text}" for text in changes.conditional_skips]
    if not candidate.results:
        blocks.append("no check was run")
    for now in candidate.results:
        then = before.get(now.command)
        problems = _problems(then, now)
        blocks += [f"`{now.command}`: {problem}" for problem in problems]
        if not problems and now.outcome == "failed":
            notes.append(f"`{now.command}` was failing before and still is: {now.reason}")
    made_progress = _made_progress(base, candidate)
    if not made_progress and not needs_progress:
        notes.append("nothing that failed before passes now")
    elif not blocks and not candidate.passed:
        blocks += _unfinished(candidate, changes.changed, made_progress=made_progress)
    return Verdict(not blocks, tuple(blocks), tuple(notes), made_progress)


def _unfinished(candidate: CheckReport, changed: tuple[str, ...], *, made_progress: bool) -> list[str]:
    """Why a change that made nothing worse is still not done."""
    failing = [name for result in candidate.results for name in result.failing]
    stems = {stem for path in changed if len(stem := PurePosixPath(path).stem.removeprefix("test_")) >= 3}
    own = [name for name in failing if any(_is_about(name, stem) for stem in stems)]
    if own:
        return [f"tests of what was changed still fail: {', '.join(own[:10])}"]
    if not made_progress:
        return ["checks fail as before: nothing that failed passes now"]
    return []


def _is_about(name: str, stem: str) -> bool:
    """Whether a test's name has `test_<stem>` as one of its parts: `tests.test_wrap.WrapTest.test_long`."""
    return re.search(rf"(?:^|[^A-Za-z0-9_])test_{re.escape(stem)}(?:$|[^A-Za-z0-9_])", name) is not None


def _problems(then: CheckResult | None, now: CheckResult) -> list[str]:
    if now.outcome == "did_not_run":
        before = " (nor did it before this change)" if then and then.outcome == "did_not_run" else ""
        return [f"did not run{before}: {now.reason}"]
    if then is None:
        return [] if now.outcome == "passed" else [f"failed: {now.reason}"]
    problems = _lost_tests(then, now)
    if now.outcome == "failed":
        problems += _worse(then, now)
    return problems


def _lost_tests(then: CheckResult, now: CheckResult) -> list[str]:
    """Fewer tests, or more skipped. What the base reports as errors may be no tests, so it is not owed."""
    if then.counts is None:
        return []
    if now.counts is None:
        if then.counts.total == 0:
            return []
        return [f"no tests are counted any more; before: {then.counts}"]
    owed = then.counts.total - then.counts.errors
    if now.counts.total < owed:
        return [f"fewer tests than before: {now.counts.total}, were {owed}"]
    if now.counts.skipped > then.counts.skipped and then.counts.errors == 0:
        return [f"more tests are skipped than before: {now.counts.skipped}, were {then.counts.skipped}"]
    return []


def _worse(then: CheckResult, now: CheckResult) -> list[str]:
    if then.outcome == "passed":
        return [f"passed before and fails now: {now.reason}"]
    if then.outcome == "did_not_run":
        return [f"fails, and did not run before, so there is nothing to compare with: {now.reason}"]
    if _names_all(then) and _names_all(now):
        new = [name for name in now.failing if not any(_covers(old, name) for old in then.failing)]
        return [f"fails now and did not before: {', '.join(new[:10])}"] if new else []
    if then.counts is not None and now.counts is not None:
        old_count, count = _failures(then), _failures(now)
        return [f"more failures than before: {count}, were {old_count}"] if count > old_count else []
    if then.counts is not None or then.exit_code != now.exit_code:
        return [f"fails in another way than before: {now.reason}, was {then.reason}"]
    return []


def _failures(result: CheckResult) -> int:
    return result.counts.failed + result.counts.errors if result.counts else 0


def _names_all(result: CheckResult) -> bool:
    return result.counts is not None and len(result.failing) > 0 and len(result.failing) >= _failures(result)


def _covers(old: str, name: str) -> bool:
    """Whether the old failure is the new one, or that of a file or module it is in."""
    if old == name or name.startswith(f"{old}::"):
        return True
    if "_FailedTest" in old:  # unittest's name for a module that could not be imported
        module = old.split(" ", 1)[0]
        return f"({module}." in name or f".{module}." in name
    return False


def _made_progress(base: CheckReport, candidate: CheckReport) -> bool:
    before = {result.command: result for result in base.results if result.outcome != "passed"}
    if not before:
        return True
    return any(_improved(before[now.command], now) for now in candidate.results if now.command in before)


def _improved(then: CheckResult, now: CheckResult) -> bool:
    if now.outcome == "passed":
        return True
    if then.counts is None or now.counts is None:
        return now.outcome == "failed" and then.outcome == "did_not_run"
    fewer_failures = _failures(now) < _failures(then) and now.counts.total >= then.counts.total
    return now.counts.passed > then.counts.passed or fewer_failures
