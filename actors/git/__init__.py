"""Where the crew's files live: the user's repository, a worktree and branch per task, commits by code.

This is the front of `repository` (describe, name), `refs`, `worktree` (create, repair, remove),
`commits` and `merge`. Every function is repeatable after a kill at any instant and takes `locks`, a folder
of the crew's in which flocks keep two processes from working on one thing (see `repository_lock`).
"""

from __future__ import annotations

from actors.git.commits import FileChange, changes_since, commit_all, diff_text, left_out
from actors.git.merge import SyncResult, sync_worktree
from actors.git.pending_merge import unresolved
from actors.git.refs import commit_at, create_branch, head_of, is_ancestor
from actors.git.repository import Repository, inspect, integration_branch, slug, task_branch
from actors.git.worktree import Worktree, ensure_worktree, open_worktree, remove_worktree

__all__ = [
    "FileChange",
    "Repository",
    "SyncResult",
    "Worktree",
    "changes_since",
    "commit_all",
    "commit_at",
    "create_branch",
    "diff_text",
    "ensure_worktree",
    "head_of",
    "inspect",
    "integration_branch",
    "is_ancestor",
    "left_out",
    "open_worktree",
    "remove_worktree",
    "slug",
    "sync_worktree",
    "task_branch",
    "unresolved",
]
