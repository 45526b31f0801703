"""One of the crew's linked worktrees, as a value.

A worktree is identified by its administrative folder (`worktrees/NAME` in the repository's git folder), which
no agent can write, never by its own `.git` file, which an agent may have replaced. git always gets both folders
explicitly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.git.command import Git
from actors.git.repository import Repository


@dataclass(frozen=True, slots=True)
class Worktree:
    """A worktree of the crew. `git_dir` is its administrative folder. `branch` is None for a scratch worktree.

    `repairs` has one sentence for each thing that was repaired when it was opened, for the log and the agent.
    """

    repository: Repository
    path: Path
    git_dir: Path
    branch: str | None
    repairs: tuple[str, ...] = ()

    def git(self, keep_fds: Sequence[int] = ()) -> Git:
        """git for this worktree's files and index, independent of its `.git` file."""
        return Git(
            self.path,
            git_dir=self.git_dir,
            work_tree=self.path,
            config=self.repository.config,
            keep_fds=keep_fds,
        )
