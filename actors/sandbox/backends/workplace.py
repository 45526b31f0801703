"""bubblewrap's arguments that show a worktree at the path of the user's checkout.

Virtual environments, editable installs and build caches of the checkout hold absolute paths. With the worktree
mounted at that path they work unchanged and lead into the worktree; the real checkout cannot be reached.

The repository's git folder often lies below that path, so it is mounted elsewhere, and the worktree's `.git`
file is covered by one that names its new place.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from actors.sandbox.git_paths import admin_folder, git_paths
from actors.sandbox.policy import Mount, Workplace
from store.shared.replace import replace_file

GIT_FOLDER = "/run/crew/git"
_LINK = "nightcrew-sandbox"
_OPTIONS = {"read_only": "--ro-bind", "writable": "--bind", "hidden": "--ro-bind"}


def mount_arguments(mounts: Iterable[Mount]) -> list[str]:
    """The arguments of mounts outside the worktree. bubblewrap creates their mount points."""
    arguments: list[str] = []
    for mount in mounts:
        # bubblewrap cannot mount over a missing file, nor create the mount point in a read-only folder.
        if mount.kind != "hidden" or os.path.lexists(mount.target):
            arguments += _arguments(mount)
    return arguments


def workplace_arguments(worktree: Path, workplace: Workplace, *, writable: bool) -> list[str]:
    """The arguments for the worktree, its git folders, and the folders mounted inside it."""
    place = workplace.path
    arguments = ["--bind" if writable else "--ro-bind", str(worktree), place]
    arguments += _git_arguments(worktree, place)
    shown: list[Mount] = []
    for mount in workplace.mounts:
        if _is_inside(mount, shown) or _is_mountable(worktree, mount, place):
            arguments += _arguments(mount)
            shown.append(mount)
    return arguments


def _arguments(mount: Mount) -> list[str]:
    if mount.kind == "scratch":
        return ["--tmpfs", mount.target]
    return [f"{_OPTIONS[mount.kind]}-try", mount.source, mount.target]


def _git_arguments(worktree: Path, place: str) -> list[str]:
    protected = git_paths(worktree)
    if not protected:
        return []
    dot_git, *others = protected
    admin = admin_folder(worktree)
    if admin is None:
        return ["--ro-bind", str(dot_git), f"{place}/.git", *_in_place(others)]
    repository, *alternates = others
    return [
        *("--ro-bind", str(repository), GIT_FOLDER),
        *("--ro-bind", _link_to(admin), f"{place}/.git"),
        *_in_place(alternates),
    ]


def _in_place(paths: Iterable[Path]) -> list[str]:
    return [word for path in paths for word in ("--ro-bind", str(path), str(path))]


def _link_to(admin: Path) -> str:
    """A `.git` file whose path is valid inside the sandbox, stored where no command can write."""
    link, content = admin / _LINK, f"gitdir: {GIT_FOLDER}/worktrees/{admin.name}\n"
    if not link.exists():
        replace_file(link, content)
    return str(link)


def _is_inside(mount: Mount, shown: Iterable[Mount]) -> bool:
    """Whether the mount point exists in one of the folders that are mounted before it."""
    return any(
        mount.target.startswith(f"{outer.target}/")
        and os.path.lexists(outer.source + mount.target.removeprefix(outer.target))
        for outer in shown
    )


def _is_mountable(worktree: Path, mount: Mount, place: str) -> bool:
    """Whether the mount point is in the worktree; creates the empty folder that bubblewrap needs there.

    No part may be a symbolic link, which a command can create: bubblewrap would follow it and create a folder
    somewhere on the host. Git does not list empty folders, so the worktree does not look changed.
    """
    if mount.kind not in ("read_only", "writable"):
        return False
    path = str(worktree)
    *parents, name = mount.target.removeprefix(f"{place}/").split("/")
    for parent in parents:
        path = f"{path}/{parent}"
        if not _is_folder(path):
            return False
    path = f"{path}/{name}"
    if not os.path.lexists(path) and os.path.isdir(mount.source):  # noqa: PTH112 - for each mount of each command; pathlib is slower
        os.mkdir(path)  # noqa: PTH102 - as above
    return _is_folder(path)


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
