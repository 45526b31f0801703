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
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from actors.gate.checks import CheckReport, CheckResult
from actors.gate.results.outcomes import TestOutcomes
from actors.gate.tampering import TestChanges


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision: `passed` if `blocks` is empty. Blocks and notes are sentences for the engineer and the report.

    `made_progress` is False if checks failed on the base and none of these failures was fixed. Then the task
    is either about something else or not done. `marks` do not block: a person or QA should read them.
    """

    passed: bool
    blocks: tuple[str, ...]
    notes: tuple[str, ...]
    made_progress: bool
    marks: tuple[str, ...] = ()

    def after_examination(self, blocks: Sequence[str], marks: Sequence[str]) -> Verdict:
        """The verdict with what was found in the change itself, without running it."""
        found = (*self.blocks, *blocks)
        return replace(self, passed=not found, blocks=found, marks=(*self.marks, *marks))


@dataclass(frozen=True, slots=True)
class NewTests:
    """How many tests a change brings that pass, and how many of these fail without it (`red`)."""

    count: int = 0
    red: int = 0


def compare(
    base: CheckReport,
    candidate: CheckReport,
    changes: TestChanges,
    *,
    needs_progress: bool = True,
    may_lose_tests: bool = False,
) -> Verdict:
    """Apply the rules above. Both reports are of the same commands.

    `needs_progress` is False for work that checks cannot measure, such as documentation. `may_lose_tests` is
    True for a task that may change tests: then lost and skipped tests are marks instead of blocks.
    """
    before = {result.command: result for result in base.results}
    blocks = [f"test file deleted: {text}" for text in changes.deleted]
    blocks += [f"test newly skipped: {text}" for text in changes.skips]
    notes = [f"test skipped on a condition: {text}" for text in changes.conditional_skips]
    marks: list[str] = []
    if not candidate.results:
        blocks.append("no check was run")
    for now in candidate.results:
        then = before.get(now.command)
        problems = _problems(then, now, marks if may_lose_tests else None)
        blocks += [f"`{now.command}`: {problem}" for problem in problems]
        if not problems and now.outcome == "failed":
            notes.append(f"`{now.command}` was failing before and still is: {now.reason}")
    made_progress = _made_progress(base, candidate)
    if not made_progress and not needs_progress:
        notes.append("nothing that failed before passes now")
    elif not blocks and not candidate.passed:
        blocks += _unfinished(candidate, changes.changed, made_progress=made_progress)
    return Verdict(not blocks, tuple(blocks), tuple(notes), made_progress, tuple(marks))


def with_base_tests(
    verdict: Verdict,
    base: CheckReport,
    found: CheckReport | None,
    new_tests: NewTests,
    *,
    is_permitted: bool,
    needs_progress: bool = True,
) -> Verdict:
    """The verdict, after the candidate's product code was checked with the base's tests and settings.

    `found` is the report of that look; None if it is the same as the candidate's. Under it nothing that passed
    may fail, be lost or be skipped; with permission to change tests this is a mark instead of a block.
    """
    blocks, marks = list(verdict.blocks), list(verdict.marks)
    has_failures = not base.passed
    if found is not None:
        before = {result.command: result for result in base.results}
        problems = [
            f"with the tests and settings of the base, `{now.command}`: {problem}"
            for now in found.results
            if not _had_no_tests(before.get(now.command), now)
            for problem in _problems(before.get(now.command), now)
        ]
        (marks if is_permitted else blocks).extend(problems)
        has_progress = not has_failures or _made_progress(base, found) or new_tests.red > 0
        if needs_progress and not has_progress and not is_permitted and not problems:
            blocks.append(
                "nothing that failed before passes with the tests of the base, and no new test fails without the change"
            )
    if new_tests.count and not new_tests.red:
        marks.append(f"none of the {new_tests.count} new tests fails without the change")
    return replace(verdict, passed=not blocks, blocks=tuple(blocks), marks=tuple(marks))


def find_new_tests(base: CheckReport, candidate: CheckReport, on_base: CheckReport) -> NewTests:
    """Which of the candidate's new tests do not pass on the base's product code (`on_base`)."""
    count = red = 0
    for then, now, tried in zip(base.results, candidate.results, on_base.results, strict=False):
        if now.recorded is not None:
            known = then.recorded.tests if then.recorded is not None else {}
            new = [name for name in now.recorded.having("passed") if name not in known]
            passed = set(tried.recorded.having("passed")) if tried.recorded is not None else set()
            count, red = count + len(new), red + sum(name not in passed for name in new)
        elif now.outcome == "passed":
            more = (now.counts.passed if now.counts else 0) - (then.counts.passed if then.counts else 0)
            count, red = count + max(0, more), red + (max(0, more) if tried.outcome != "passed" else 0)
    return NewTests(count, red)


def _had_no_tests(then: CheckResult | None, now: CheckResult) -> bool:
    """Whether the check did not run on the base either: the first tests come with this change."""
    return then is not None and then.outcome == "did_not_run" and now.outcome != "passed"


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


def _problems(then: CheckResult | None, now: CheckResult, marks: list[str] | None = None) -> list[str]:
    """Why a check blocks. If `marks` is given, lost tests go there instead."""
    if now.outcome == "did_not_run":
        before = " (nor did it before this change)" if then and then.outcome == "did_not_run" else ""
        return [f"did not run{before}: {now.reason}"]
    if then is None:
        return [] if now.outcome == "passed" else [f"failed: {now.reason}"]
    lost = [*_lost_tests(then, now), *_lost_by_name(then, now)]
    problems = [*([] if marks is not None else lost), *_interference(then, now)]
    if marks is not None:
        marks += [f"`{now.command}`: {text}" for text in lost]
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
    if then.recorded is not None and now.recorded is None:
        return [f"its runner left no result file any more; before: {then.counts}"]
    owed = then.counts.owed
    if now.counts.total < owed:
        return [f"fewer tests than before: {now.counts.total}, were {owed}"]
    if now.counts.skipped > then.counts.skipped and then.counts.errors == 0:
        return [f"more tests are skipped than before: {now.counts.skipped}, were {then.counts.skipped}"]
    return []


def _lost_by_name(then: CheckResult, now: CheckResult) -> list[str]:
    """Tests that passed before and are now gone or skipped, if both runs know all their tests by name."""
    if then.recorded is None or now.recorded is None:
        return []
    tests = now.recorded.tests
    known = Counter(_stem(name) for name in tests)
    owed = Counter(_stem(name) for name in then.recorded.tests)
    # A parameter may be random or an address: then as many tests of that name are enough.
    lost = [
        name
        for name in then.recorded.having("passed")
        if name not in tests and known[_stem(name)] < owed[_stem(name)]
    ]
    skipped = [name for name in then.recorded.having("passed") if tests.get(name) == "skipped"]
    return [
        f"{text}: {', '.join(names[:10])}"
        for text, names in (("no longer run", lost), ("skipped now", skipped))
        if names
    ]


def _interference(then: CheckResult, now: CheckResult) -> list[str]:
    """What the checked code did to the runner and to the files that decide, unless the base did the same."""
    before, after = then.recorded or TestOutcomes(), now.recorded or TestOutcomes()
    found = (
        ("replaced functions of the test runner while it ran", before.replaced, after.replaced),
        ("modules that hide installed ones were imported", before.shadowing, after.shadowing),
        ("changed files that decide about checks while it ran", then.rewrote, now.rewrote),
    )
    return [
        f"{text}: {', '.join(sorted(set(new) - set(old))[:10])}"
        for text, old, new in found
        if set(new) - set(old)
    ]


def _stem(name: str) -> str:
    return name.partition("[")[0]


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
