"""The git folders of a worktree. They are shown read-only, so `git status` works but no command can change them."""

from __future__ import annotations

from pathlib import Path


def git_paths(worktree: Path) -> tuple[Path, ...]:
    """Paths to show read-only: `.git`, its repository, and the object stores that the repository borrows from.

    A `.git` file is followed only if the folder that it names refers back to it and is below the repository's
    `worktrees/`. Otherwise a command could get read access to any folder by writing a `.git` file that names it.
    """
    dot_git = worktree / ".git"
    if dot_git.is_symlink():
        return ()
    if dot_git.is_dir():
        return (dot_git, *_alternates(dot_git))
    if not dot_git.is_file():
        return ()
    admin = admin_folder(worktree)
    if admin is None:
        return (dot_git,)
    repository = admin.parent.parent
    return (dot_git, repository, *_alternates(repository))


def admin_folder(worktree: Path) -> Path | None:
    """The folder that the repository keeps for a linked worktree, below its `worktrees/`; None for others."""
    dot_git = worktree / ".git"
    try:
        if dot_git.is_symlink() or not dot_git.is_file():
            return None
        kind, _, named = dot_git.read_text(encoding="utf-8", errors="surrogateescape").partition(":")
        if kind != "gitdir":
            return None
        admin = (dot_git.parent / named.strip()).resolve(strict=True)
        back = Path((admin / "gitdir").read_text(encoding="utf-8", errors="surrogateescape").strip())
        points_back = (admin / back).resolve() == dot_git.resolve()
    except (OSError, ValueError):
        return None
    repository = admin.parent.parent
    is_repository = (repository / "objects").is_dir() and (repository / "HEAD").is_file()
    return admin if points_back and admin.parent.name == "worktrees" and is_repository else None


def _alternates(repository: Path) -> tuple[Path, ...]:
    try:
        lines = (repository / "objects/info/alternates").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ()
    found = [(repository / "objects" / line).resolve() for line in lines if line and not line.startswith("#")]
    # Accept only folders that look like an object store: a command may have created this `.git` and its list.
    return tuple(path for path in found if path.name == "objects" and (path / "pack").is_dir())
