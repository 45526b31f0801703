"""Create, find, repair after a crash and remove the crew's worktrees."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from actors.git import pending_merge
from actors.git.delete import delete_tree
from actors.git.errors import OccupiedPathError, WorkspaceError
from actors.git.locks import hold
from actors.git.refs import create_branch
from actors.git.repository import Repository
from actors.git.worktree import Worktree

# `git worktree add` locks a worktree with this reason until it is complete. Any other lock
# reason was set by a user with `git worktree lock`.
_UNFINISHED = "initializing"


def ensure_worktree(
    repository: Repository, path: Path, branch: str, start_commit: str, *, locks: Path
) -> Worktree:
    """The worktree of `branch` at `path`: created if it is missing, repaired if broken. Its files are kept.

    `start_commit` is used only if the branch does not exist yet. Safe to repeat after a crash. Raises
    `OccupiedPathError` if `path` contains something else.
    """
    create_branch(repository, branch, start_commit, locks=locks)
    path = path.absolute().parent.resolve() / path.name
    with hold(locks, "repository", repository.git_dir) as descriptor:
        git_dir = _usable_git_dir(repository, path)
        repairs: tuple[str, ...] = ()
        if git_dir is None and _is_occupied(path):
            git_dir = _attach(repository, path, branch)
            repairs = (f"{path} was no longer registered in the repository and was attached again",)
        elif git_dir is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            repository.git((descriptor,)).run("worktree", "add", "--force", str(path), branch, timeout_s=600)
            git_dir = _git_dir_of(repository, path)
            if git_dir is None:
                raise WorkspaceError(f"git created no worktree at {path}; check `git worktree list`.")
        worktree = Worktree(repository, path, git_dir, branch, repairs)
        with hold(locks, "worktree", path) as inner:
            return repair(worktree, locks=locks, keep_fds=(descriptor, inner))


def open_worktree(repository: Repository, path: Path) -> Worktree:
    """The existing worktree at `path`, unrepaired. Raises `WorkspaceError` if there is none of ours."""
    path = path.absolute().parent.resolve() / path.name
    git_dir = _git_dir_of(repository, path)
    if git_dir is None or not path.is_dir():
        raise WorkspaceError(f"{path} is not a worktree of {repository.root}.")
    head = _text(git_dir / "HEAD").strip()
    return Worktree(
        repository, path, git_dir, head.removeprefix("ref: refs/heads/") if "ref:" in head else None
    )


def remove_worktree(repository: Repository, path: Path, *, locks: Path) -> None:
    """Delete the worktree at `path` with all its files; its branch stays. Harmless if there is none.

    Raises `OccupiedPathError`, deleting nothing, if `path` is not a worktree of this repository.
    """
    path = path.absolute().parent.resolve() / path.name
    with hold(locks, "repository", repository.git_dir):
        git_dir = _git_dir_of(repository, path)
        if git_dir is None and _is_occupied(path) and not _belongs_to(repository, path):
            raise _occupied(repository, path)
        # Delete the files first. If this is interrupted, the remaining administrative folder shows the next attempt
        # that the files are ours.
        with hold(locks, "worktree", path):
            try:
                delete_tree(path)
                if git_dir is not None:
                    delete_tree(git_dir)
            except OSError as error:
                raise WorkspaceError(
                    f"{path} cannot be deleted: {error}. Check whether a process still uses it."
                ) from error


def checkout_scratch(repository: Repository, commit: str, path: Path, *, locks: Path) -> Worktree:
    """Create a worktree at `commit` without a branch, replacing a worktree of ours at `path`."""
    path = path.absolute().parent.resolve() / path.name
    remove_worktree(repository, path, locks=locks)
    with hold(locks, "repository", repository.git_dir) as descriptor:
        path.parent.mkdir(parents=True, exist_ok=True)
        git = repository.git((descriptor,))
        git.run("worktree", "add", "--force", "--detach", str(path), commit, timeout_s=600)
        git_dir = _git_dir_of(repository, path)
    if git_dir is None:
        raise WorkspaceError(f"git created no worktree at {path}; check `git worktree list`.")
    return Worktree(repository, path, git_dir, None)


def repair(worktree: Worktree, *, locks: Path, keep_fds: Sequence[int]) -> Worktree:
    """Repair what a crash or an agent may have broken. The caller holds the worktree's lock.

    Repairs the `.git` file, stale lock files, HEAD and the index, and completes an interrupted merge. Leaves
    the agent's files as they are.
    """
    repairs = list(worktree.repairs)
    if worktree.path.is_symlink() or not worktree.path.is_dir():
        raise WorkspaceError(f"the worktree {worktree.path} no longer exists.")
    if _restore_link(worktree):
        repairs.append(f"{worktree.path}/.git did not point to its repository and was restored")
    for name in ("index.lock", "HEAD.lock"):
        # No running git uses these lock files: a git that outlived its parent would still hold our lock.
        (worktree.git_dir / name).unlink(missing_ok=True)
    head = f"ref: refs/heads/{worktree.branch}\n"
    if worktree.branch is not None and _text(worktree.git_dir / "HEAD") != head:
        (worktree.git_dir / "HEAD").write_text(head, encoding="utf-8")
        repairs.append(f"{worktree.path} was not on its branch {worktree.branch} and was switched back to it")
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


def _usable_git_dir(repository: Repository, path: Path) -> Path | None:
    """The administrative folder of the worktree at `path`. Deletes an incomplete or empty worktree."""
    git_dir = _git_dir_of(repository, path)
    if git_dir is None:
        return None
    if _text(git_dir / "locked").strip() == _UNFINISHED or not path.is_dir() or not any(path.iterdir()):
        delete_tree(path)
        delete_tree(git_dir)
        return None
    return git_dir


def _git_dir_of(repository: Repository, path: Path) -> Path | None:
    """The administrative folder whose `gitdir` file names `path`; None if there is none."""
    wanted = os.fsencode(path / ".git")
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted((repository.git_dir / "worktrees").iterdir()):
            with contextlib.suppress(OSError):
                if (entry / "gitdir").read_bytes().removesuffix(b"\n") == wanted:
                    return entry
    return None


def _attach(repository: Repository, path: Path, branch: str) -> Path:
    """Create a new administrative folder for a worktree whose old one was pruned, keeping its files.

    Writes the layout of gitrepository-layout(5) itself, because git cannot add a worktree over existing files.
    """
    if not _belongs_to(repository, path):
        raise _occupied(repository, path)
    number = 0
    while (git_dir := repository.git_dir / "worktrees" / f"{path.name}-{number}").exists():
        number += 1
    git_dir.mkdir(parents=True)
    (git_dir / "HEAD").write_text(f"ref: refs/heads/{branch}\n", encoding="utf-8")
    (git_dir / "commondir").write_text("../..\n", encoding="utf-8")
    # Write this file last: git recognizes the folder only with it, so an earlier crash leaves an unused folder.
    (git_dir / "gitdir").write_bytes(os.fsencode(path / ".git") + b"\n")
    return git_dir


def _restore_link(worktree: Worktree) -> bool:
    """Make the `.git` file name the administrative folder; returns whether it had to be changed."""
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


def _belongs_to(repository: Repository, path: Path) -> bool:
    """Whether the `.git` file at `path` names an administrative folder of this repository, even a missing one."""
    link = path / ".git"
    if path.is_symlink() or link.is_symlink() or not link.is_file():
        return False
    named = Path(os.fsdecode(link.read_bytes()).removeprefix("gitdir: ").removesuffix("\n"))
    return named.parent.resolve() == (repository.git_dir / "worktrees").resolve()


def _occupied(repository: Repository, path: Path) -> OccupiedPathError:
    return OccupiedPathError(
        f"{path} is not empty and not a worktree of {repository.root}; move it away and try again."
    )


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""
