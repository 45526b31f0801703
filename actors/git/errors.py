"""The errors of git, of the user's repository and of the crew's worktrees. An actor retries after any of them.

InfrastructureError             `actors/errors.py`
|-- GitError                    a git command ended with an unexpected exit code
|   |-- GitTimeoutError         it was killed at its time limit
|   `-- GitMissingError         git is not installed
|-- LockTimeoutError            another process held a lock for too long
`-- WorkspaceError              a repository or worktree cannot be used; the text says what to do
    |-- PathMissingError          the path does not exist
    |-- NotARepositoryError       the path is outside any repository
    |-- BareRepositoryError       the repository has no working tree
    |-- NoCommitError             the repository has no commit
    |-- GitTooOldError            git before 2.38 cannot merge without a checkout
    |-- UntrustedRepositoryError  git refuses the repository because it belongs to another user
    |-- BranchBlockedError        a branch of the user has a name that prevents one of ours
    `-- OccupiedPathError         the path of a worktree contains something else
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.errors import InfrastructureError


class GitError(InfrastructureError):
    """A git command failed. The text has the command, the folder and git's message."""

    def __init__(
        self, what: str, *, command: Sequence[str] = (), git_exit_code: int = -1, stderr: str = ""
    ) -> None:
        super().__init__(what)
        self.command = tuple(command)
        self.git_exit_code = git_exit_code
        self.stderr = stderr


class GitTimeoutError(GitError):
    """A git command was killed because it exceeded its time limit."""


class GitMissingError(GitError):
    """git is not on PATH."""


class LockTimeoutError(InfrastructureError):
    """A lock was not released in time. The text names what it locks, and its file."""


class WorkspaceError(InfrastructureError):
    """A repository or worktree cannot be used. The text says which, why, and what to do."""


class PathMissingError(WorkspaceError):
    """The path does not exist."""


class NotARepositoryError(WorkspaceError):
    """The path is not in a git repository."""


class BareRepositoryError(WorkspaceError):
    """The repository has no working tree."""


class NoCommitError(WorkspaceError):
    """The repository has no commit."""


class GitTooOldError(WorkspaceError):
    """The installed git cannot merge without a checkout."""


class UntrustedRepositoryError(WorkspaceError):
    """Git refuses the repository because it belongs to another user."""


class BranchBlockedError(WorkspaceError):
    """A branch of the user, such as `nightcrew`, has a name that prevents one of ours."""


class OccupiedPathError(WorkspaceError):
    """The path of a worktree contains something that is not our worktree."""
