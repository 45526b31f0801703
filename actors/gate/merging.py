"""Merges a submitted commit in git's object store, checks it in a scratch worktree, and lands it.

`evaluate` changes no reference and can be repeated. `land` moves the integration branch by compare-and-swap
and tags it. After a crash both are repeated. That is safe: the same commit gives the same merge, and a branch
that was moved or a tag that was made is recognised.

| killed after          | what the repetition finds                                          |
|-----------------------|--------------------------------------------------------------------|
| merge, before checks  | the same merge commit: its dates come from the submitted commit    |
| scratch worktree made | it is removed and made again                                       |
| checks                | the branch has not moved; checks run again                         |
| branch moved          | `already_merged`, with the merge commit                            |
| tag made              | the same tag                                                       |
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.gate.checks import DEFAULT_CHECK_TIMEOUT_S, CheckReport, CheckRunner, report_from_json
from actors.gate.looks import Looks
from actors.gate.protection.examine import Examination, examine
from actors.gate.report import conflict_text, failed_text, passed_text
from actors.gate.tampering import find_test_changes
from actors.gate.verdict import NewTests, Verdict, compare, find_new_tests, with_base_tests
from actors.git.errors import WorkspaceError
from actors.git.merge import merge_trees
from actors.git.refs import NO_COMMIT, commit_at, head_of, is_ancestor, move_ref
from actors.git.repository import Repository
from store.failpoints import failpoint
from store.shared import ref_names
from store.states import GateVerdict

_LANDING = frozenset({GateVerdict.PASSED, GateVerdict.UNVERIFIED, GateVerdict.ALREADY_MERGED})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A merge commit that is on no branch yet. `parent` is the head of the integration branch it was made on."""

    commit: str
    parent: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Merging the submitted commit conflicts in these files."""

    files: tuple[str, ...]
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AlreadyMerged:
    """The submitted commit was merged before, by this merge commit."""

    commit: str


@dataclass(frozen=True, slots=True)
class NothingToMerge:
    """Merging the submitted commit would change no file of the integration branch, which is at `head`."""

    head: str


MergeOutcome = Candidate | Conflict | AlreadyMerged | NothingToMerge


@dataclass(frozen=True, slots=True)
class GateResult:
    """The result of `evaluate`. `dataclasses.asdict` gives JSON.

    `candidate` and `parent` are None unless there is something to land. `report` is the text for the
    engineer. The text for a conflict refers to conflict markers, so call `sync_worktree` before passing it on.
    `checks` are the results on the merge. After landing they are the base of the next submission. `marks` are
    what a person or QA should read; `notes` repeat them.
    """

    verdict: GateVerdict
    commit: str
    candidate: str | None
    parent: str | None
    report: str
    checks: CheckReport | None = None
    base_checks: CheckReport | None = None
    conflicts: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    made_progress: bool = True
    duration_s: float = 0.0
    marks: tuple[str, ...] = ()

    @property
    def may_land(self) -> bool:
        """Whether `land` accepts this result (or completes what a crash interrupted)."""
        return self.verdict in _LANDING


def result_from_json(value: Mapping[str, Any]) -> GateResult:
    """Rebuild a result from the JSON of its `asdict`."""
    checks = {
        name: None if value[name] is None else report_from_json(value[name])
        for name in ("checks", "base_checks")
    }
    lists = {name: tuple(value.get(name, ())) for name in ("conflicts", "blocks", "notes", "marks")}
    return GateResult(**{**value, **checks, **lists, "verdict": GateVerdict(value["verdict"])})


def merge_candidate(repository: Repository, integration: str, commit: str, message: str) -> MergeOutcome:
    """Merge `commit` with the head of the branch `integration`, moving nothing and touching no file.

    The same commit, head and message give the same candidate id.
    """
    head = head_of(repository, integration)
    submitted = commit_at(repository, commit)
    if submitted is None:
        raise WorkspaceError(f"{repository.root} holds no commit {commit}; was its branch deleted?")
    if is_ancestor(repository, submitted, head):
        merge = _merge_of(repository, submitted, head)
        return AlreadyMerged(merge) if merge else NothingToMerge(head)
    git = repository.git()
    merged = merge_trees(git, head, submitted)
    if merged.conflicts:
        return Conflict(merged.conflicts, merged.messages)
    if merged.tree == git.line("rev-parse", f"{head}^{{tree}}"):
        return NothingToMerge(head)
    failpoint("trees_merged")
    date = git.line("show", "--no-patch", "--format=%cd", "--date=raw", submitted)
    candidate = git.run(
        "commit-tree", merged.tree, "-p", head, "-p", submitted, "-F", "-",
        stdin=message.rstrip() + "\n",
        environment={"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date},
    )  # fmt: skip
    failpoint("merge_made")
    return Candidate(candidate.strip(), head)


def evaluate(
    repository: Repository,
    *,
    integration: str,
    commit: str,
    message: str,
    commands: Sequence[str],
    run: CheckRunner,
    scratch: Path,
    locks: Path,
    base: CheckReport | None = None,
    timeout_s: float = DEFAULT_CHECK_TIMEOUT_S,
    needs_progress: bool = True,
    permitted: Sequence[str] = (),
) -> GateResult:
    """Judge a submitted commit: merge it, run `commands` on the merge, compare with the integration branch.

    The candidate's tests and settings do not decide about it alone: `looks` has the runs that are compared.

    `scratch` is a folder used only by this evaluation. `base` is the report on the branch's head if the caller
    has it (the `checks` of the last landed result); otherwise the checks are run there too. `timeout_s`
    applies to each command. For `needs_progress` see `verdict.compare`. `permitted` are patterns of the tests and
    settings that this task may change. Raises `WorkspaceError` or `GitError` if git fails.
    """
    started = time.monotonic()
    merged = merge_candidate(repository, integration, commit, message)
    if not isinstance(merged, Candidate):
        return _unchecked(merged, commit)
    if not commands:
        text = "Merged without verification: the project has no checks."
        return GateResult(GateVerdict.UNVERIFIED, commit, merged.commit, merged.parent, text)
    looks = Looks(repository, commands, run, scratch, locks, timeout_s)
    looks.sweep()
    if base is None or base.commit != merged.parent or base.commands != tuple(commands):
        base, report = looks.at(merged.parent, merged.commit)
    else:
        (report,) = looks.at(merged.commit)
    failpoint("checks_over")
    verdict = _verdict(
        repository, merged, looks, base, report, needs_progress=needs_progress, permitted=permitted
    )
    return _judged(commit, merged, base, report, verdict, started)


def _verdict(
    repository: Repository,
    merged: Candidate,
    looks: Looks,
    base: CheckReport,
    report: CheckReport,
    *,
    needs_progress: bool,
    permitted: Sequence[str],
) -> Verdict:
    """Compare the merge's report with the base's, with what the change does to tests and settings in mind."""
    examination = examine(
        repository.git(),
        merged.parent,
        merged.commit,
        commands=looks.commands,
        settings=base.settings,
        permitted=permitted,
        scratch=looks.scratch,
    )
    changes = find_test_changes(repository, merged.parent, merged.commit).without(permitted)
    verdict = compare(
        base, report, changes, needs_progress=needs_progress, may_lose_tests=examination.uses_permission
    )
    verdict = verdict.after_examination(examination.blocks, examination.marks)
    if not verdict.passed:
        return verdict
    return _with_base_tests(verdict, examination, looks, base, report, needs_progress)


def advance(repository: Repository, branch: str, new: str, old: str, *, locks: Path) -> bool:
    """Move `branch` from `old` to `new` by compare-and-swap.

    Returns False if someone moved it to a commit that does not contain `new`. Returns True if it already
    contains `new`, so that a repetition after a crash succeeds.
    """
    if move_ref(repository, f"refs/heads/{branch}", new, old, locks=locks):
        return True
    return is_ancestor(repository, new, head_of(repository, branch))


def tag_stable(repository: Repository, project: str, task: str, commit: str, *, locks: Path) -> str:
    """Tag `commit` as `nightcrew/<project>/stable-<n>-<task>` and return the tag. An existing tag is reused."""
    folder = f"refs/tags/{ref_names.of_project(project)}"
    while True:
        known = repository.git().run("for-each-ref", "--format=%(objectname) %(refname)", folder)
        highest = 0
        for line in known.splitlines():
            target, _, ref = line.partition(" ")
            number = re.match(r"stable-(\d+)", ref.removeprefix(folder))
            if number is not None and target == commit:
                return ref.removeprefix("refs/tags/")
            highest = max(highest, int(number[1]) if number else 0)
        tag = ref_names.stable_tag(project, highest + 1, task)
        if move_ref(repository, f"refs/tags/{tag}", commit, NO_COMMIT, locks=locks):
            return tag


def land(
    repository: Repository, *, project: str, task: str, integration: str, result: GateResult, locks: Path
) -> str | None:
    """Move the integration branch to the result's candidate and tag it. Returns the tag's name.

    Returns None if the branch has moved since `evaluate`; then evaluate again. Raises `WorkspaceError` for a
    result that may not land. Can be repeated after a crash at any instant.
    """
    if not result.may_land or result.candidate is None:
        raise WorkspaceError(
            f"{task} was judged {str(result.verdict)!r}, so there is nothing to land; submit it again."
        )
    parent = result.parent or result.candidate
    if not advance(repository, integration, result.candidate, parent, locks=locks):
        return None
    failpoint("reference_moved")
    tag = tag_stable(repository, project, task, result.candidate, locks=locks)
    failpoint("merge_tagged")
    return tag


def _with_base_tests(
    verdict: Verdict,
    examination: Examination,
    looks: Looks,
    base: CheckReport,
    report: CheckReport,
    needs_progress: bool,
) -> Verdict:
    """Run the looks that show whether the change passes by its product code or only by its tests."""
    wanted = [commit for commit in (examination.with_base_tests, examination.new_tests_on_base) if commit]
    reports = dict(zip(wanted, looks.at(*wanted), strict=True))
    with_new = reports.get(examination.new_tests_on_base or "")
    return with_base_tests(
        verdict,
        base,
        reports.get(examination.with_base_tests or ""),
        find_new_tests(base, report, with_new) if with_new else NewTests(),
        is_permitted=examination.uses_permission,
        needs_progress=needs_progress,
    )


def _merge_of(repository: Repository, submitted: str, head: str) -> str | None:
    """The merge commit on the branch that merged `submitted`; None if `submitted` is older than the branch."""
    listed = repository.git().run(
        "rev-list", "--first-parent", "--min-parents=2", "--parents", f"{submitted}..{head}"
    )
    for line in listed.splitlines():
        merge, _, *others = line.split()
        if submitted in others:
            return merge
    return None


def _unchecked(merged: Conflict | AlreadyMerged | NothingToMerge, commit: str) -> GateResult:
    if isinstance(merged, Conflict):
        text = conflict_text(merged.files, merged.messages)
        return GateResult(GateVerdict.CONFLICT, commit, None, None, text, conflicts=merged.files)
    if isinstance(merged, AlreadyMerged):
        return GateResult(
            GateVerdict.ALREADY_MERGED, commit, merged.commit, None, "This commit was merged before."
        )
    text = "There is nothing to merge: your branch changes no file. Edit files first, then submit again."
    return GateResult(GateVerdict.NOTHING, commit, None, None, text)


def _judged(
    commit: str, merged: Candidate, base: CheckReport, report: CheckReport, verdict: Verdict, started: float
) -> GateResult:
    return GateResult(
        verdict=GateVerdict.PASSED if verdict.passed else GateVerdict.FAILED,
        commit=commit,
        candidate=merged.commit if verdict.passed else None,
        parent=merged.parent if verdict.passed else None,
        report=passed_text(verdict, report) if verdict.passed else failed_text(verdict, report),
        checks=report,
        base_checks=base,
        blocks=verdict.blocks,
        notes=(*verdict.notes, *(f"for review: {mark}" for mark in verdict.marks)),
        marks=verdict.marks,
        made_progress=verdict.made_progress,
        duration_s=round(time.monotonic() - started, 3),
    )
