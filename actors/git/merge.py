"""Merge two commits without a checkout, and merge the integration branch into a task's worktree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from actors.git import pending_merge
from actors.git.checkouts import repair
from actors.git.command import Git, GitOutcome
from actors.git.commits import commit_locked
from actors.git.errors import WorkspaceError
from actors.git.locks import hold
from actors.git.refs import commit_at, head_of, is_ancestor
from actors.git.worktree import Worktree


@dataclass(frozen=True, slots=True)
class MergedTree:
    """The result of a merge: the id of its tree, the files with conflicts, git's messages about these.

    In `tree` the files with conflicts contain conflict markers, where git could set them.
    """

    tree: str
    conflicts: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The result of `sync_worktree`.

    - `up_to_date`: the branch already contained everything. `commit` is its head.
    - `merged`: `commit` is the merge commit.
    - `conflict`: `files` contain conflict markers. After these are removed, the next `commit_all` completes the
      merge. `messages` also name conflicts without markers (a file that one side deleted and the other changed;
      the changed one is kept).
    """

    state: Literal["up_to_date", "merged", "conflict"]
    commit: str | None = None
    files: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()


def merge_trees(git: Git, ours: str, theirs: str) -> MergedTree:
    """Merge two commits, or branches, in the object store only. Conflict markers carry the given names."""
    arguments = ("merge-tree", "--write-tree", "-z", "--name-only", "--messages", ours, theirs)
    outcome = git.attempt(*arguments)
    if outcome.exit_code not in (0, 1):
        raise git.error(arguments, outcome)
    return _parse(outcome)


def sync_worktree(worktree: Worktree, onto: str, *, locks: Path) -> SyncResult:
    """Merge `onto` (the integration branch, or a commit) into the worktree's branch and files.

    Commits uncommitted work first. On a conflict the files get conflict markers and the branch stays where it
    is, so an agent resolves it by editing files, without running git. While markers are left, the result is the
    same conflict again. Safe to repeat after a crash.
    """
    with hold(locks, "worktree", worktree.path) as descriptor:
        keep_fds = (descriptor,)
        worktree = repair(worktree, locks=locks, keep_fds=keep_fds)
        still_open = pending_merge.unresolved_files(worktree)
        if still_open:
            return SyncResult(
                "conflict", files=still_open, messages=("the previous merge still has conflict markers",)
            )
        commit_locked(worktree, "Work in progress, before merging", locks=locks, keep_fds=keep_fds)
        return _merge_into(worktree, onto, locks=locks, keep_fds=keep_fds)


def _merge_into(worktree: Worktree, onto: str, *, locks: Path, keep_fds: tuple[int, ...]) -> SyncResult:
    repository, branch = worktree.repository, worktree.branch
    theirs = commit_at(repository, onto)
    if branch is None:
        raise WorkspaceError(f"{onto} cannot be merged into {worktree.path}, which has no branch.")
    if theirs is None:
        raise WorkspaceError(f"{onto} cannot be merged into {worktree.path}: no such commit.")
    head = head_of(repository, branch)
    if is_ancestor(repository, theirs, head):
        return SyncResult("up_to_date", commit=head)
    git = worktree.git(keep_fds)
    merged = merge_trees(git, branch, onto)
    commit = None
    if not merged.conflicts:
        subject = f"Merge {onto} into {branch}\n"
        commit = git.run(
            "commit-tree", merged.tree, "-p", head, "-p", theirs, "-F", "-", stdin=subject
        ).strip()
    target = pending_merge.Switch(head, merged.tree, commit, theirs, merged.conflicts)
    pending_merge.switch(worktree, target, locks=locks, keep_fds=keep_fds)
    if commit is not None:
        return SyncResult("merged", commit=commit)
    return SyncResult("conflict", files=merged.conflicts, messages=merged.messages)


def _parse(outcome: GitOutcome) -> MergedTree:
    """Parse `merge-tree -z`: tree, conflicting names, an empty field, then (count, paths, type, text)…"""
    fields = outcome.stdout.split("\0")
    tree = fields[0].strip()
    if outcome.exit_code == 0:
        return MergedTree(tree)
    end = fields.index("", 1)
    names = tuple(dict.fromkeys(fields[1:end]))
    messages: list[str] = []
    position = end + 1
    while position < len(fields) and fields[position].strip().isdigit():
        text_at = position + int(fields[position]) + 2
        if "CONFLICT" in fields[text_at - 1] or fields[text_at].startswith("CONFLICT"):
            messages.append(fields[text_at].strip())
        position = text_at + 1
    return MergedTree(tree, names, tuple(messages))
