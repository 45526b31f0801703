"""Our linked worktrees: made, found again, mended after a kill at any instant, and removed.

A worktree is known by its administrative folder in the repository's git folder, which no agent can write,
never by the `.git` file inside it, which one may have swapped. Git is always told both folders.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from actors.git import pending_merge
from actors.git.command import Git
from actors.git.locks import hold
from actors.git.repository import OccupiedPathError, Repository, WorkspaceError, create_branch

# `git worktree add` locks what it has not finished with this reason; any other reason is a person's.
_UNFINISHED = "initializing"


@dataclass(frozen=True, slots=True)
class Worktree:
    """A worktree of ours. `git_dir` is its administrative folder; `branch` is None for a scratch one.

    `repairs` says what had to be mended when it was opened, a sentence each, for the log and the agent.
    """

    repository: Repository
    path: Path
    git_dir: Path
    branch: str | None
    repairs: tuple[str, ...] = ()

    def git(self, keep_fds: Sequence[int] = ()) -> Git:
        """Git on this worktree's files and index, whatever its `.git` file says."""
        return Git(
            self.path,
            git_dir=self.git_dir,
            work_tree=self.path,
            config=self.repository.config,
            keep_fds=keep_fds,
        )


def ensure_worktree(
    repository: Repository, path: Path, branch: str, start_commit: str, *, locks: Path
) -> Worktree:
    """The worktree of `branch` at `path`, made if missing, mended if broken; files in it are kept.

    `start_commit` counts only when the branch does not exist yet. Repeatable after a kill at any instant.
    Raises `OccupiedPathError` if something else stands at `path`.
    """
    create_branch(repository, branch, start_commit, locks=locks)
    path = path.absolute().parent.resolve() / path.name
    with hold(locks, "repository", repository.git_dir) as descriptor:
        git_dir = _usable_git_dir(repository, path)
        repairs: tuple[str, ...] = ()
        if git_dir is None and _is_occupied(path):
            git_dir = _attach(repository, path, branch)
            repairs = (f"{path} had lost its place in the repository and was attached again",)
        elif git_dir is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            repository.git((descriptor,)).run("worktree", "add", "--force", str(path), branch, timeout_s=600)
            git_dir = _git_dir_of(repository, path)
            if git_dir is None:
                raise WorkspaceError(f"git made no worktree at {path}; look at `git worktree list`.")
        worktree = Worktree(repository, path, git_dir, branch, repairs)
        with hold(locks, "worktree", path) as inner:
            return mend(worktree, locks=locks, keep_fds=(descriptor, inner))


def open_worktree(repository: Repository, path: Path) -> Worktree:
    """The worktree that stands at `path`, as it is; raises `WorkspaceError` if there is none of ours."""
    path = path.absolute().parent.resolve() / path.name
    git_dir = _git_dir_of(repository, path)
    if git_dir is None or not path.is_dir():
        raise WorkspaceError(f"{path} is no worktree of {repository.root}; ensure_worktree makes it.")
    head = _text(git_dir / "HEAD").strip()
    return Worktree(
        repository, path, git_dir, head.removeprefix("ref: refs/heads/") if "ref:" in head else None
    )


def remove_worktree(repository: Repository, path: Path, *, locks: Path) -> None:
    """Remove the worktree at `path` with all files in it; its branch stays. Harmless if there is none.

    Raises `OccupiedPathError` rather than delete a folder that is no worktree of this repository.
    """
    path = path.absolute().parent.resolve() / path.name
    with hold(locks, "repository", repository.git_dir):
        git_dir = _git_dir_of(repository, path)
        if git_dir is None and _is_occupied(path) and not _names_us(repository, path):
            raise _occupied(repository, path)
        # Files first: as long as the administrative folder is there, a repeat knows that they are ours.
        with hold(locks, "worktree", path):
            try:
                delete_tree(path)
                if git_dir is not None:
                    delete_tree(git_dir)
            except OSError as error:
                raise WorkspaceError(
                    f"{path} can't be removed: {error}; does a process still work there?"
                ) from error


def checkout_scratch(repository: Repository, commit: str, path: Path, *, locks: Path) -> Worktree:
    """A fresh worktree without a branch at `commit`; a worktree of ours that was at `path` is removed."""
    path = path.absolute().parent.resolve() / path.name
    remove_worktree(repository, path, locks=locks)
    with hold(locks, "repository", repository.git_dir) as descriptor:
        path.parent.mkdir(parents=True, exist_ok=True)
        git = repository.git((descriptor,))
        git.run("worktree", "add", "--force", "--detach", str(path), commit, timeout_s=600)
        git_dir = _git_dir_of(repository, path)
    if git_dir is None:
        raise WorkspaceError(f"git made no scratch worktree at {path}; look at `git worktree list`.")
    return Worktree(repository, path, git_dir, None)


def mend(worktree: Worktree, *, locks: Path, keep_fds: Sequence[int]) -> Worktree:
    """Put right what a kill or an agent may have broken. The caller holds the worktree's lock.

    Agents' files stay as they are: only the `.git` file, stale locks, HEAD and the index are mended. A merge
    that was writing files when it was killed is finished.
    """
    repairs = list(worktree.repairs)
    if worktree.path.is_symlink() or not worktree.path.is_dir():
        raise WorkspaceError(f"the worktree {worktree.path} is gone; ensure_worktree makes it again.")
    if _restore_link(worktree):
        repairs.append(f"{worktree.path}/.git did not point to its repository and was restored")
    for name in ("index.lock", "HEAD.lock"):
        # Git that outlived its parent would still hold our lock (see repository_lock), so nobody uses it.
        (worktree.git_dir / name).unlink(missing_ok=True)
    head = f"ref: refs/heads/{worktree.branch}\n"
    if worktree.branch is not None and _text(worktree.git_dir / "HEAD") != head:
        (worktree.git_dir / "HEAD").write_text(head, encoding="utf-8")
        repairs.append(f"{worktree.path} was not on its branch {worktree.branch} and was put back on it")
    git = worktree.git(keep_fds)
    index = worktree.git_dir / "index"
    if not index.exists() or git.attempt("ls-files", "--", ".git").exit_code != 0:
        index.unlink(missing_ok=True)
        git.run("read-tree", "HEAD")
        git.attempt("update-index", "-q", "--refresh")
        repairs.append(f"the index of {worktree.path} was damaged and was rebuilt")
    worktree = replace(worktree, repairs=tuple(repairs))
    pending_merge.finish_interrupted(worktree, locks=locks, keep_fds=keep_fds)
    return worktree


def delete_tree(path: Path) -> None:
    """Delete a folder, file or link; links in it are not followed; absent is fine; read-only folders too."""
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    if not path.exists():
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        for folder, _, _ in os.walk(path):
            with contextlib.suppress(PermissionError):
                Path(folder).chmod(0o700)
        shutil.rmtree(path)


def _usable_git_dir(repository: Repository, path: Path) -> Path | None:
    """The administrative folder of a worktree to keep; a half-made or emptied one is cleared away."""
    git_dir = _git_dir_of(repository, path)
    if git_dir is None:
        return None
    if _text(git_dir / "locked").strip() == _UNFINISHED or not path.is_dir() or not any(path.iterdir()):
        delete_tree(path)
        delete_tree(git_dir)
        return None
    return git_dir


def _git_dir_of(repository: Repository, path: Path) -> Path | None:
    """The administrative folder whose `gitdir` file names `path`, as the repository's side has it."""
    wanted = os.fsencode(path / ".git")
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted((repository.git_dir / "worktrees").iterdir()):
            with contextlib.suppress(OSError):
                if (entry / "gitdir").read_bytes().removesuffix(b"\n") == wanted:
                    return entry
    return None


def _attach(repository: Repository, path: Path, branch: str) -> Path:
    """Give a worktree whose administrative folder was pruned a new one, keeping its files.

    Written by hand, in the layout of gitrepository-layout(5), because git can't add a worktree over files.
    """
    if not _names_us(repository, path):
        raise _occupied(repository, path)
    number = 0
    while (git_dir := repository.git_dir / "worktrees" / f"{path.name}-{number}").exists():
        number += 1
    git_dir.mkdir(parents=True)
    (git_dir / "HEAD").write_text(f"ref: refs/heads/{branch}\n", encoding="utf-8")
    (git_dir / "commondir").write_text("../..\n", encoding="utf-8")
    # Last, since this is what makes it found: a kill before this line leaves only an unused folder.
    (git_dir / "gitdir").write_bytes(os.fsencode(path / ".git") + b"\n")
    return git_dir


def _restore_link(worktree: Worktree) -> bool:
    """Make the `.git` file name the administrative folder again; True if it did not."""
    link = worktree.path / ".git"
    wanted = b"gitdir: " + os.fsencode(worktree.git_dir) + b"\n"
    if not link.is_symlink() and link.is_file() and link.read_bytes() == wanted:
        return False
    delete_tree(link)
    with open(os.open(link, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "wb") as file:
        file.write(wanted)
    return True


def _is_occupied(path: Path) -> bool:
    return path.is_symlink() or path.is_file() or (path.is_dir() and any(path.iterdir()))


def _names_us(repository: Repository, path: Path) -> bool:
    """Whether the `.git` file at `path` names a worktree folder of this repository, be it there or not."""
    link = path / ".git"
    if path.is_symlink() or link.is_symlink() or not link.is_file():
        return False
    named = Path(os.fsdecode(link.read_bytes()).removeprefix("gitdir: ").removesuffix("\n"))
    return named.parent.resolve() == (repository.git_dir / "worktrees").resolve()


def _occupied(repository: Repository, path: Path) -> OccupiedPathError:
    return OccupiedPathError(
        f"{path} is not empty and is no worktree of {repository.root}; move it away and try again."
    )


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""
