"""Decides whether a candidate may be merged, by comparing its checks with those of the base.

The base is the integration branch before the merge. Deliverables are often given as tests that fail at
first, and each task makes some of them pass. So a check that failed on the base may still fail, as long as
nothing got worse. Per check:

| base        | candidate                                     | decision                           |
|-------------|-----------------------------------------------|------------------------------------|
| any         | passed, with at least as many tests           | passes                             |
| any         | fewer tests, or more skipped                  | blocks                             |
| any         | did not run                                   | blocks                             |
| passed      | failed                                        | blocks                             |
| did not run | failed                                        | blocks: nothing to compare with    |
| failed      | failed, no worse                              | does not block                     |
| failed      | failed, worse                                 | blocks                             |

Over all checks, a change is also refused if
- checks still fail and it fixed none of them, or
- tests named after a changed file still fail (`test_wrap` for `wrap.py`). Otherwise half-done work would be
  excused by the failures that other tasks have yet to fix.

"No worse" means: if both runs name every failing test, each test that fails now failed before (a file that
could not be imported stands for all its tests). Without names, no more failures than before. Without
numbers, the same exit code. A deleted test file or a newly skipped test is refused whatever the checks say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from actors.gate.checks import CheckReport, CheckResult
from actors.gate.tampering import TestChanges


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision: `passed` if `blocks` is empty. Blocks and notes are sentences for the engineer and the report.

    `made_progress` is False if checks failed on the base and none of these failures was fixed. Then the task
    is either about something else or not done.
    """

    passed: bool
    blocks: tuple[str, ...]
    notes: tuple[str, ...]
    made_progress: bool


def compare(
    base: CheckReport, candidate: CheckReport, changes: TestChanges, *, needs_progress: bool = True
) -> Verdict:
    """Apply the rules above. Both reports are of the same commands.

    `needs_progress` is False for work that checks cannot measure, such as documentation.
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
    """The reasons why a change that made nothing worse is still incomplete."""
    failing = [name for result in candidate.results for name in result.failing]
    stems = {stem for path in changed if len(stem := PurePosixPath(path).stem.removeprefix("test_")) >= 3}
    own = [name for name in failing if any(_is_about(name, stem) for stem in stems)]
    if own:
        return [f"tests of what was changed still fail: {', '.join(own[:10])}"]
    if not made_progress:
        return ["checks fail as before: nothing that failed passes now"]
    return []


def _is_about(name: str, stem: str) -> bool:
    """Whether `test_<stem>` is a component of a test's name, as in `tests.test_wrap.WrapTest.test_long`."""
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
    """Problems with fewer or newly skipped tests."""
    if then.counts is None:
        return []
    if now.counts is None:
        if then.counts.total == 0:
            return []
        return [f"no tests are counted any more; before: {then.counts}"]
    owed = then.counts.owed
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
    """Whether `old` names the same test as `name`, or the file or module that contains it."""
    if old == name or name.startswith(f"{old}::"):
        return True
    if "_FailedTest" in old:  # unittest's name for a module that could not be imported
        module = old.split(" ", 1)[0].rpartition("_FailedTest.")[2]
        return name.startswith(f"{module}.") or f"({module}." in name or f".{module}." in name
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
