"""The user's repository: check that the crew can work on it, and describe it.

The crew adds branches and tags under `nightcrew/` and worktrees. It reads, but never writes, the user's own
branches, index, files, stash and configuration. It never runs `git worktree prune`, which would also remove the
user's worktrees on a disk that is unplugged at the moment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.git.command import MINIMUM_VERSION, Git, driver_overrides, git_version
from actors.git.errors import (
    BareRepositoryError,
    GitTooOldError,
    NoCommitError,
    NotARepositoryError,
    PathMissingError,
    UntrustedRepositoryError,
    WorkspaceError,
)
from store.shared import ref_names


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as `open_repository` found it. Paths are absolute and resolved.

    - `root`: the top folder of the working tree. `git_dir`: the git folder that all its worktrees share.
    - `head_branch`: None if HEAD is detached. `head_commit`: the commit that the crew's work starts from.
    - `is_dirty`: there are uncommitted changes, which the crew does not see.
    - `config`: git configuration that disables the repository's content filters and merge drivers.
    """

    root: Path
    git_dir: Path
    head_branch: str | None
    head_commit: str
    is_dirty: bool
    warnings: tuple[str, ...] = ()
    config: tuple[tuple[str, str], ...] = ()

    def git(self, keep_fds: Sequence[int] = ()) -> Git:
        """git for references and objects only, without access to the user's index and working tree."""
        return Git(self.git_dir, git_dir=self.git_dir, config=self.config, keep_fds=keep_fds)


def open_repository(path: Path) -> Repository:
    """Describe the user's repository that contains `path`; writes nothing. Raises a `WorkspaceError`.

    Not for a folder that agents can write: here git itself searches for the repository.
    """
    require_git()
    if not path.exists():
        raise PathMissingError(f"{path} does not exist; use the path of a git repository.")
    if not path.is_dir():
        raise NotARepositoryError(f"{path} is a file; use the folder of a git repository.")
    git = Git(path.resolve())
    root = _working_tree(git, path)
    git = Git(root)
    git_dir = Path(git.line("rev-parse", "--path-format=absolute", "--git-common-dir")).resolve()
    branch = git.attempt("symbolic-ref", "--quiet", "--short", "HEAD").stdout.removesuffix("\n") or None
    config = driver_overrides(git)
    status = Git(root, config=config).names(
        "status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=all"
    )
    return Repository(
        root=root,
        git_dir=git_dir,
        head_branch=branch,
        head_commit=_head_commit(git, root),
        is_dirty=bool(status),
        warnings=tuple(_warnings(path.resolve(), root, branch, len(status))),
        config=config,
    )


def require_git() -> None:
    """Check that git can merge without a checkout. Raises `GitTooOldError` or `GitMissingError`."""
    version = git_version()
    if version < MINIMUM_VERSION:
        raise GitTooOldError(
            f"git {version[0]}.{version[1]} is too old: {MINIMUM_VERSION[0]}.{MINIMUM_VERSION[1]} or newer "
            "is required, because older versions cannot merge without a checkout."
        )


def _working_tree(git: Git, path: Path) -> Path:
    answer = git.attempt("rev-parse", "--is-bare-repository")
    if answer.exit_code != 0:
        raise _refusal(path, answer.stderr)
    if answer.stdout.strip() == "true":
        raise BareRepositoryError(
            f"{path} is a bare repository, without a working tree; "
            f"clone it (git clone {path}) and use the clone."
        )
    top = git.attempt("rev-parse", "--path-format=absolute", "--show-toplevel")
    if top.exit_code != 0:
        raise NotARepositoryError(f"{path} is inside a repository's .git folder; use the folder above it.")
    return Path(top.stdout.removesuffix("\n")).resolve()


def _refusal(path: Path, stderr: str) -> WorkspaceError:
    if "dubious ownership" in stderr:
        return UntrustedRepositoryError(
            f"{path} belongs to another user, so git refuses it; if you trust it, run: "
            f"git config --global --add safe.directory '{path}'"
        )
    if "not a git repository" in stderr:
        return NotARepositoryError(
            f"{path} is not in a git repository; to make it one, run there: "
            "git init && git add -A && git commit -m 'First commit'"
        )
    return NotARepositoryError(f"git cannot read {path}: {stderr.strip()}; try `git status` there.")


def _head_commit(git: Git, root: Path) -> str:
    head = git.attempt("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if head.exit_code != 0:
        raise NoCommitError(
            f"{root} has no commit yet; create one: git add -A && git commit -m 'First commit'"
        )
    return head.stdout.strip()


def _warnings(path: Path, root: Path, branch: str | None, change_count: int) -> list[str]:
    warnings = []
    if path != root:
        warnings.append(f"{path} is inside the repository {root}; the crew works on the whole repository.")
    if branch is None:
        warnings.append(f"{root} has a detached HEAD; the crew starts from its current commit.")
    elif ref_names.is_ours(branch):
        warnings.append(
            f"branch {branch} is checked out in {root}. The crew will update this branch without updating your "
            "files; switch to another branch first (git switch -)."
        )
    if change_count:
        warnings.append(
            f"{root} has uncommitted changes ({change_count} files), which the crew does not see; commit them "
            "if it should."
        )
    if (root / ".gitmodules").exists():
        warnings.append("Submodules are empty in the crew's worktrees.")
    if "filter=lfs" in _text(root / ".gitattributes"):
        warnings.append("The crew sees files stored in Git LFS as pointers, without their content.")
    return warnings


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""
