"""Deletes a folder tree that untrusted commands have filled."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def delete_tree(path: Path) -> None:
    """Delete a folder, even a read-only one, a file or a link, following no links. Harmless if it is gone.

    Works for any depth: each folder that is found is moved up into `path` and emptied there, so that neither
    recursion nor a path longer than the system allows is needed. Raises OSError.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        path.unlink()
        return
    _make_usable(path)
    top = os.open(path, _OPEN_FOLDER)
    try:
        mark = f".deleting-{secrets.token_hex(8)}-"
        found = _empty(top, top, mark, 0)
        emptied = 0
        while emptied < found:
            name = f"{mark}{emptied}"
            folder = os.open(name, _OPEN_FOLDER, dir_fd=top)
            try:
                found = _empty(folder, top, mark, found)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)
            emptied += 1
    finally:
        os.close(top)
    path.rmdir()


def _empty(folder: int, top: int, mark: str, number: int) -> int:
    """Delete the files of `folder`, and move its folders into `top` as `mark` with a number; the next number."""
    with os.scandir(folder) as entries:
        listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in listed:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
            continue
        # A folder that is not writable cannot be moved, and one that is not readable cannot be listed.
        with contextlib.suppress(PermissionError):
            os.chmod(name, stat.S_IRWXU, dir_fd=folder)
        os.rename(name, f"{mark}{number}", src_dir_fd=folder, dst_dir_fd=top)
        number += 1
    return number


def _make_usable(path: Path) -> None:
    with contextlib.suppress(PermissionError):
        path.chmod(stat.S_IRWXU)
