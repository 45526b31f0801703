"""What the user's repository is, and the names and references we use in it.

Ours are only `refs/heads/nightcrew/*`, `refs/tags/nightcrew/*` and the worktrees we add. The user's own
branches, index, files, stash and configuration are read, never written; `git worktree prune` is never run,
since it would also drop the user's worktrees on a disk that happens to be unplugged.

WorkspaceError             a repository or worktree that can't be worked on; the text says what to do next
|- PathMissingError        nothing is at the path
|- NotARepositoryError     a folder or file outside any repository
|- BareRepositoryError     a repository without a working tree
|- NoCommitError           a repository without a first commit
|- GitTooOldError          git before 2.38 can't merge without a checkout
|- UntrustedRepositoryError  git refuses it because it belongs to another user
|- BranchBlockedError      the user has a branch whose name keeps ours from being made
`- OccupiedPathError       a worktree is to stand where something else is
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.git.command import MINIMUM_VERSION, Git, GitError, driver_overrides, git_version
from actors.git.locks import hold

PREFIX = "nightcrew"
NO_COMMIT = "0" * 40
MAX_SLUG_LENGTH = 60


class WorkspaceError(Exception):
    """A repository or worktree can't be worked on; the text says what, which and what next."""


class PathMissingError(WorkspaceError):
    """Nothing is at the path."""


class NotARepositoryError(WorkspaceError):
    """The path is in no git repository."""


class BareRepositoryError(WorkspaceError):
    """The repository has no working tree."""


class NoCommitError(WorkspaceError):
    """The repository has no first commit."""


class GitTooOldError(WorkspaceError):
    """The installed git can't merge without a checkout."""


class UntrustedRepositoryError(WorkspaceError):
    """Git refuses the repository because it belongs to another user."""


class BranchBlockedError(WorkspaceError):
    """An existing branch keeps one of ours from being made."""


class OccupiedPathError(WorkspaceError):
    """Something that is not our worktree stands at a worktree's path."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as `inspect` found it. Paths are absolute and resolved.

    `root` is the working tree's top, `git_dir` the folder shared by all worktrees. `head_branch` is None
    for a detached HEAD; `head_commit` is then the base all the same. `is_dirty` means uncommitted changes,
    which are no part of the base. `config` switches off the repository's content filters and merge drivers.
    """

    root: Path
    git_dir: Path
    head_branch: str | None
    head_commit: str
    is_dirty: bool
    warnings: tuple[str, ...] = ()
    config: tuple[tuple[str, str], ...] = ()

    def git(self, keep_fds: Sequence[int] = ()) -> Git:
        """Git on references and objects only: with no index or working tree of the user's in reach."""
        return Git(self.git_dir, git_dir=self.git_dir, config=self.config, keep_fds=keep_fds)


def inspect(path: Path) -> Repository:
    """Look at the repository that holds `path`, one of the user's. Raises a `WorkspaceError`; writes nothing.

    Never for a folder that agents write to: git looks for the repository by itself here.
    """
    require_git()
    if not path.exists():
        raise PathMissingError(f"{path} does not exist; give the path of a git repository.")
    if not path.is_dir():
        raise NotARepositoryError(f"{path} is a file; give the folder of a git repository.")
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
    """Raise `GitTooOldError` (or `GitMissingError`) unless git can do what the gate needs."""
    version = git_version()
    if version < MINIMUM_VERSION:
        raise GitTooOldError(
            f"git {version[0]}.{version[1]} is too old: {MINIMUM_VERSION[0]}.{MINIMUM_VERSION[1]} or newer "
            "is needed to merge without a checkout; upgrade git."
        )


def _working_tree(git: Git, path: Path) -> Path:
    answer = git.attempt("rev-parse", "--is-bare-repository")
    if answer.exit_code != 0:
        raise _refusal(path, answer.stderr)
    if answer.stdout.strip() == "true":
        raise BareRepositoryError(
            f"{path} is a bare repository, without a working tree; "
            f"clone it (git clone {path}) and give the clone."
        )
    top = git.attempt("rev-parse", "--path-format=absolute", "--show-toplevel")
    if top.exit_code != 0:
        raise NotARepositoryError(f"{path} lies inside a repository's .git folder; give the folder above it.")
    return Path(top.stdout.removesuffix("\n")).resolve()


def _refusal(path: Path, stderr: str) -> WorkspaceError:
    if "dubious ownership" in stderr:
        return UntrustedRepositoryError(
            f"{path} belongs to another user, so git refuses it; if you trust it, run: "
            f"git config --global --add safe.directory '{path}'"
        )
    if "not a git repository" in stderr:
        return NotARepositoryError(
            f"{path} is not in a git repository; make it one with: "
            f"git init && git add -A && git commit -m 'First commit' (in {path})."
        )
    return NotARepositoryError(f"git can't read {path}: {stderr.strip()}; try `git status` there.")


def _head_commit(git: Git, root: Path) -> str:
    head = git.attempt("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if head.exit_code != 0:
        raise NoCommitError(
            f"{root} has no commit yet; make a first one with: git add -A && git commit -m 'First commit'."
        )
    return head.stdout.strip()


def _warnings(path: Path, root: Path, branch: str | None, change_count: int) -> list[str]:
    warnings = []
    if path != root:
        warnings.append(f"{path} lies inside the repository {root}; the whole repository is worked on.")
    if branch is None:
        warnings.append(f"{root} is on no branch (detached HEAD); its current commit is the base.")
    elif branch.startswith(f"{PREFIX}/"):
        warnings.append(
            f"{root} has {branch} checked out, a branch the crew moves; switch to one of your own "
            "(git switch -), or your files will lag behind it."
        )
    if change_count:
        warnings.append(
            f"{root} has uncommitted changes ({change_count} files): they are left alone and are no part of "
            "what the crew works on; commit them first if they should be."
        )
    if (root / ".gitmodules").exists():
        warnings.append("Submodules stay empty in the crew's worktrees.")
    if "filter=lfs" in _text(root / ".gitattributes"):
        warnings.append("Files kept in Git LFS are seen by the crew as pointers, not as their content.")
    return warnings


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def slug(name: str) -> str:
    """`name` as one part of a reference: lower case ASCII letters, digits, `.`, `_`, `-`; never empty.

    Different names may give one slug ("Über" and "uber"): callers keep slugs unique.
    """
    folded = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode()
    dashed = re.sub(r"[^a-z0-9._]+|\.{2,}", "-", folded.lower())
    trimmed = re.sub(r"-{2,}", "-", dashed)[:MAX_SLUG_LENGTH].strip("-._")
    return re.sub(r"\.lock$", "-lock", trimmed) or f"x{name.encode('utf-8', 'surrogatepass').hex()[:16]}"


def integration_branch(project: str) -> str:
    """The branch that accepted work of a project is merged into."""
    return f"{PREFIX}/{slug(project)}/integration"


def task_branch(project: str, task: str) -> str:
    """The branch one task is worked on; never the integration branch, nor below or above it."""
    name = slug(task)
    return f"{PREFIX}/{slug(project)}/{'task-' if name == 'integration' else ''}{name}"


def create_branch(repository: Repository, branch: str, start_commit: str, *, locks: Path) -> str:
    """Make `branch` at `start_commit` unless it exists; returns the commit it is at. Repeatable."""
    ref = f"refs/heads/{branch}"
    try:
        move_ref(repository, ref, start_commit, NO_COMMIT, locks=locks)
    except GitError as error:
        if "exists; cannot create" in error.stderr:
            blocker = re.search(r"'refs/heads/([^']+)' exists; cannot create", error.stderr)
            name = blocker[1] if blocker else f"{PREFIX}/…"
            raise BranchBlockedError(
                f"your branch {name} keeps git from making {branch}; "
                f"rename yours: git branch -m {name} my-{name}"
            ) from error
        raise
    return head_of(repository, branch)


def head_of(repository: Repository, branch: str) -> str:
    """The commit `branch` is at; raises `WorkspaceError` if there is no such branch."""
    commit = commit_at(repository, f"refs/heads/{branch}")
    if commit is None:
        raise WorkspaceError(f"{repository.root} has no branch {branch}; was it deleted?")
    return commit


def commit_at(repository: Repository, name: str) -> str | None:
    """The full id of the commit that `name` (reference or id) means, or None if there is none."""
    found = repository.git().attempt(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
    )
    return found.stdout.strip() if found.exit_code == 0 else None


def is_ancestor(repository: Repository, older: str, newer: str) -> bool:
    """Whether `newer` contains `older` (or is it)."""
    git = repository.git()
    answer = git.attempt("merge-base", "--is-ancestor", older, newer)
    if answer.exit_code not in (0, 1):
        raise git.error(("merge-base", "--is-ancestor"), answer)
    return answer.exit_code == 0


def move_ref(repository: Repository, ref: str, new: str, old: str, *, locks: Path) -> bool:
    """Set one of our references from `old` (`NO_COMMIT`: it must not exist) to `new`, or return False.

    Compare-and-swap. A lock file that a killed git left behind is removed while we hold our own lock.
    """
    if not re.match(rf"refs/(heads|tags)/{PREFIX}/", ref):
        raise WorkspaceError(f"{ref} is not the crew's to move; only references under {PREFIX}/ are.")
    with hold(locks, "reference", f"{repository.git_dir}:{ref}") as descriptor:
        with contextlib.suppress(NotADirectoryError):  # a branch of the user's in the way, which git will say
            (repository.git_dir / f"{ref}.lock").unlink(missing_ok=True)
        git = repository.git((descriptor,))
        outcome = git.attempt("update-ref", "--create-reflog", ref, new, old)
        if outcome.exit_code == 0:
            return True
        if "but expected" in outcome.stderr or "reference already exists" in outcome.stderr:
            return False
        if "unable to resolve reference" in outcome.stderr:
            return False
        raise git.error(("update-ref", ref), outcome)
