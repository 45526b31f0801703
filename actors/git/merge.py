"""Merging two commits without a checkout, and bringing an accepted state into a task's worktree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from actors.git import pending_merge
from actors.git.command import Git, GitOutcome
from actors.git.commits import commit_mended
from actors.git.locks import hold
from actors.git.repository import WorkspaceError, commit_at, head_of, is_ancestor
from actors.git.worktree import Worktree, mend


@dataclass(frozen=True, slots=True)
class MergedTree:
    """The tree of a merge. With `conflicts` the files named hold conflict markers, where git could set them.

    `messages` are git's own sentences about the conflicts.
    """

    tree: str
    conflicts: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Synced:
    """How `sync_worktree` left a worktree.

    `up_to_date`: it held everything already. `merged`: it now does, `commit` says so. `conflict`: `files`
    hold conflict markers; once they are gone the next `commit_all` concludes the merge. `messages` also name
    conflicts without markers (a file deleted here and changed there), of which the changed side was kept.
    """

    state: Literal["up_to_date", "merged", "conflict"]
    commit: str | None = None
    files: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()


def merge_trees(git: Git, ours: str, theirs: str) -> MergedTree:
    """Merge two commits (or branches, whose names then label the markers) in the object store alone."""
    arguments = ("merge-tree", "--write-tree", "-z", "--name-only", "--messages", ours, theirs)
    outcome = git.attempt(*arguments)
    if outcome.exit_code not in (0, 1):
        raise git.error(arguments, outcome)
    return _parse(outcome)


def sync_worktree(worktree: Worktree, onto: str, *, locks: Path) -> Synced:
    """Merge `onto` (the integration branch, or a commit) into the worktree's branch and files.

    Uncommitted work is committed first. On a conflict the files get markers and the branch stays, so that an
    agent that can't run git itself only has to edit files. While markers are left, the same conflict is
    answered again. Repeatable after a kill at any instant.
    """
    with hold(locks, "worktree", worktree.path) as descriptor:
        keep_fds = (descriptor,)
        worktree = mend(worktree, locks=locks, keep_fds=keep_fds)
        still_open = pending_merge.unresolved(worktree)
        if still_open:
            return Synced("conflict", files=still_open, messages=("the last merge is not resolved yet",))
        commit_mended(worktree, "Work in progress, before merging", locks=locks, keep_fds=keep_fds)
        return _merge_into(worktree, onto, locks=locks, keep_fds=keep_fds)


def _merge_into(worktree: Worktree, onto: str, *, locks: Path, keep_fds: tuple[int, ...]) -> Synced:
    repository, branch = worktree.repository, worktree.branch
    theirs = commit_at(repository, onto)
    if branch is None or theirs is None:
        raise WorkspaceError(f"{onto} can't be merged into {worktree.path}: no such commit or no branch.")
    head = head_of(repository, branch)
    if is_ancestor(repository, theirs, head):
        return Synced("up_to_date", commit=head)
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
        return Synced("merged", commit=commit)
    return Synced("conflict", files=merged.conflicts, messages=merged.messages)


def _parse(outcome: GitOutcome) -> MergedTree:
    """Output of `merge-tree -z`: tree, conflicting names, an empty field, then (count, paths, type, text)."""
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
