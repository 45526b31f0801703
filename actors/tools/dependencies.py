"""Dependency folders such as `.venv`, which commands see in the worktree but which are elsewhere on the host."""

from __future__ import annotations

import posixpath
from pathlib import Path

from actors.sandbox.policy import Mount
from actors.tools.base import ToolContext, ToolRefused


def readable_root(path: str, context: ToolContext) -> tuple[Path, str | None, str]:
    """Return the folder on the host that contains `path`, where commands see that folder, and the path to open in it.

    Raises ToolRefused for a file with credentials.
    """
    spill = context.spill_dir
    if any(path.startswith(f"{root}/") for root in (spill, spill.resolve())):
        return spill, None, path
    mount, full = _mount_of(path, context)
    if mount is None:
        return context.worktree, context.shown_at, path
    if mount.kind != "read_only":
        raise ToolRefused(f"{path} is hidden from the crew: it may contain credentials.")
    return Path(mount.source), mount.target, full


def require_own_file(path: str, context: ToolContext) -> None:
    """Raise ToolRefused if `path` is in a dependency folder: those are read-only, and changes would be lost."""
    mount, _ = _mount_of(path, context)
    if mount is not None:
        raise ToolRefused(f"{path} is in a folder of installed dependencies, which is read-only.")


def _mount_of(path: str, context: ToolContext) -> tuple[Mount | None, str]:
    """The innermost mount that contains `path`, and the path as commands see it."""
    workplace = context.sandbox.workplace
    if workplace is None:
        return None, path
    worktree = str(context.worktree)
    if path.startswith(f"{worktree}/"):
        path = workplace.path + path.removeprefix(worktree)
    full = posixpath.normpath(posixpath.join(workplace.path, path))
    inside = [
        mount
        for mount in workplace.mounts
        if mount.kind != "scratch" and (full == mount.target or full.startswith(f"{mount.target}/"))
    ]
    return max(inside, key=lambda mount: len(mount.target), default=None), full
