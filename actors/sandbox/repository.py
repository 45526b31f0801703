"""Which of git's folders a worktree needs: bound read-only, git works in the sandbox and can't be turned."""

from __future__ import annotations

from pathlib import Path


def git_paths(worktree: Path) -> tuple[Path, ...]:
    """Paths to bind read-only: `.git` itself and the repository behind it, with what that borrows from.

    A `.git` file is believed only if the folder it names points back at it and lies below the repository's
    `worktrees/`: else a worktree without `.git`, where a command may create one, could open any folder.
    """
    dot_git = worktree / ".git"
    if dot_git.is_symlink():
        return ()
    if dot_git.is_dir():
        return (dot_git, *_alternates(dot_git))
    if not dot_git.is_file():
        return ()
    repository = _linked_repository(dot_git)
    return (dot_git,) if repository is None else (dot_git, repository, *_alternates(repository))


def _linked_repository(dot_git: Path) -> Path | None:
    try:
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
    return repository if points_back and admin.parent.name == "worktrees" and is_repository else None


def _alternates(repository: Path) -> tuple[Path, ...]:
    try:
        lines = (repository / "objects/info/alternates").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ()
    found = [(repository / "objects" / line).resolve() for line in lines if line and not line.startswith("#")]
    # Only what looks like an object store: the list may stand in a `.git` that a command made.
    return tuple(path for path in found if path.name == "objects" and (path / "pack").is_dir())
