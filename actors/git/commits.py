"""Commits everything in a worktree, without running hooks, filters or anything else that its files configure.

`git add` and `git status` enter repositories nested in the worktree and run what their configuration says. So
this lists the changed names and adds them to the index one by one, without nested repositories. The worktree's
lock makes sure that one process at a time works on it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from actors.git import pending_merge
from actors.git.checkouts import repair
from actors.git.command import Git
from actors.git.errors import WorkspaceError
from actors.git.locks import hold
from actors.git.refs import head_of, move_ref
from actors.git.worktree import Worktree
from store.failpoints import failpoint

MAX_FILE_BYTES = 50 * 1024 * 1024
# Git refuses these names in a path, because some file systems take them for `.git`.
_REFUSED_NAME = re.compile(r"(^|/)(\.git[ .]*|git~\d+)(/|$)|\\", re.IGNORECASE)


def commit_all(worktree: Worktree, message: str, *, locks: Path) -> str | None:
    """Commit everything in the worktree to its branch; returns the new commit, or None if nothing changed.

    Leaves out ignored files and what `uncommitted_files` lists. If a conflict of `sync_worktree` is pending and no
    conflict marker is left, the commit completes that merge. Safe to repeat after a crash.
    """
    with hold(locks, "worktree", worktree.path) as descriptor:
        worktree = repair(worktree, locks=locks, keep_fds=(descriptor,))
        return commit_locked(worktree, message, locks=locks, keep_fds=(descriptor,))


def commit_locked(worktree: Worktree, message: str, *, locks: Path, keep_fds: Sequence[int]) -> str | None:
    """`commit_all` for callers that hold the worktree's lock and have repaired the worktree."""
    if worktree.branch is None:
        raise WorkspaceError(
            f"{worktree.path} is a worktree without a branch, so nothing can be committed in it."
        )
    git = worktree.git(keep_fds)
    _stage(git, worktree)
    failpoint("work_staged")
    head = head_of(worktree.repository, worktree.branch)
    tree = git.line("write-tree")
    merged = pending_merge.resolved_commit(worktree)
    if merged is None and tree == git.line("rev-parse", f"{head}^{{tree}}"):
        return None
    parents = [head] if merged is None else [head, merged]
    arguments = [part for parent in parents for part in ("-p", parent)]
    commit = git.run("commit-tree", tree, *arguments, "-F", "-", stdin=message.rstrip() + "\n").strip()
    failpoint("commit_made")
    if not move_ref(worktree.repository, f"refs/heads/{worktree.branch}", commit, head, locks=locks):
        raise WorkspaceError(f"{worktree.branch} was moved by another process during a commit; try again.")
    failpoint("commit_referenced")
    if merged is not None:
        pending_merge.forget(worktree)
    return commit


def uncommitted_files(worktree: Worktree) -> tuple[str, ...]:
    """Files that `commit_all` does not commit although git does not ignore them: `NAME: REASON` for each."""
    reasons = []
    for name in _candidates(worktree.git()):
        reason = _reason_to_leave_out(worktree.path, name)
        if reason is not None:
            reasons.append(f"{name}: {reason}")
    return tuple(reasons)


def _stage(git: Git, worktree: Worktree) -> None:
    names = [name for name in _candidates(git) if _reason_to_leave_out(worktree.path, name) is None]
    if names:
        listing = "".join(f"{name}\0" for name in names)
        git.run(
            "update-index", "-z", "--add", "--remove", "--replace", "--stdin", stdin=listing, timeout_s=600
        )


def _candidates(git: Git) -> list[str]:
    """Names that may differ from the index. A nested repository is one name that ends in a slash."""
    untracked = git.names("ls-files", "-z", "--others", "--exclude-standard")
    changed = git.names("diff-files", "-z", "--name-only", "--ignore-submodules=all")
    # Changes and removals first, so that a file can replace a folder and vice versa.
    return list(dict.fromkeys([*changed, *untracked]))


def _reason_to_leave_out(root: Path, name: str) -> str | None:
    if name.endswith("/"):
        return f"a git repository of its own; delete {name}.git to have its files committed"
    if _REFUSED_NAME.search(name):
        return "git refuses this file name; rename it"
    path = root / name
    try:
        status = path.lstat()
    except OSError:
        return None  # deleted, which is a change to commit
    if stat.S_ISREG(status.st_mode):
        if status.st_size > MAX_FILE_BYTES:
            return (
                f"{status.st_size / 1e6:.0f} MB, over the limit of {MAX_FILE_BYTES / 1e6:.0f} MB for one file"
            )
        if not os.access(path, os.R_OK):
            return "not readable"
    return None
