"""Opening files that are surely below one folder, whatever symbolic links a command has laid.

A walk by directory descriptors, one name at a time and never following a link in the kernel: links are read
and walked here, so none leads out and nothing can be swapped between check and use. For Linux and macOS.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from actors.tools.base import ToolRefused

_MAX_LINKS = 40
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """A name in an open folder: `name` is no link (it may not exist); `shown` is its path below the root."""

    folder_fd: int
    name: str
    shown: str

    def status(self) -> os.stat_result | None:
        """None if nothing is there."""
        try:
            return os.stat(self.name, dir_fd=self.folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None


@contextmanager
def place(root: Path, path: str, *, make_folders: bool = False) -> Iterator[Place]:
    """Where `path` (relative to `root`, or absolute below it) is. Raises ToolRefused for all that leads out.

    Errors of the system inside the block become ToolRefused too, with what the system said.
    """
    walk = _Walk(root, path, make_folders)
    try:
        yield walk.to_end()
    except OSError as error:
        raise ToolRefused(f"{path}: {error.strerror or error}.") from error
    finally:
        walk.close()


class _Walk:
    def __init__(self, root: Path, path: str, make_folders: bool) -> None:
        self._root = root
        self._path = path
        self._make_folders = make_folders
        self._pending = deque(_parts_below(root, path))
        self._folders: list[int] = []
        self._names: list[str] = []
        self._links = 0

    def to_end(self) -> Place:
        self._folders.append(os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        while self._pending:
            name = self._pending.popleft()
            if name == "..":
                self._up()
            elif name.casefold() == ".git":
                raise ToolRefused(
                    f"{self._path}: .git belongs to the crew; no file in it is read or written here."
                )
            else:
                found = self._enter(name)
                if found is not None:
                    return found
        return Place(self._folders[-1], ".", "/".join(self._names) or ".")

    def close(self) -> None:
        while self._folders:
            os.close(self._folders.pop())

    def _enter(self, name: str) -> Place | None:
        """One step down; gives the place when it is the last one."""
        here = self._folders[-1]
        shown = "/".join([*self._names, name])
        try:
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
        except FileNotFoundError:
            if not self._pending:
                return Place(here, name, shown)
            if not self._make_folders:
                raise ToolRefused(f"{self._path}: there is no folder {shown}.{nearest(here, name)}") from None
            os.mkdir(name, dir_fd=here)
        else:
            if stat.S_ISLNK(status.st_mode):
                self._follow(os.readlink(name, dir_fd=here), shown)
                return None
            if not self._pending:
                return Place(here, name, shown)
            if not stat.S_ISDIR(status.st_mode):
                raise ToolRefused(f"{self._path}: {shown} is a file, not a folder.")
        self._folders.append(os.open(name, _FOLDER, dir_fd=here))
        self._names.append(name)
        return None

    def _follow(self, target: str, shown: str) -> None:
        self._links += 1
        if self._links > _MAX_LINKS:
            raise ToolRefused(f"{self._path}: its symbolic links go round in circles.")
        if target.startswith("/"):
            try:
                parts = _parts_below(self._root, target)
            except ToolRefused:
                raise ToolRefused(
                    f"{self._path}: the symbolic link {shown} leads out of the worktree."
                ) from None
            while len(self._folders) > 1:
                self._up()
        else:
            parts = _split(target)
        self._pending.extendleft(reversed(parts))

    def _up(self) -> None:
        if len(self._folders) == 1:
            raise ToolRefused(f"{self._path}: leads out of {self._root}. Use a path inside it.")
        os.close(self._folders.pop())
        self._names.pop()


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _parts_below(root: Path, path: str) -> list[str]:
    if not path.strip() or "\0" in path:
        raise ToolRefused("The path is empty or holds a NUL character; give a file's path in the worktree.")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise ToolRefused("The path holds characters that no file name can have.") from None
    if path.startswith("~"):
        raise ToolRefused(f"{path}: a home folder is out of reach. Use a path relative to the worktree.")
    if not path.startswith("/"):
        return _split(path)
    for base in dict.fromkeys((str(root), str(root.resolve()))):
        if path == base or path.startswith(base.rstrip("/") + "/"):
            return _split(path[len(base) :])
    raise ToolRefused(f"{path}: is outside of {root}. Use a path relative to that folder.")


def nearest(folder_fd: int, name: str) -> str:
    """' Did you mean …?' or ''."""
    with suppress(OSError):
        close = difflib.get_close_matches(name, os.listdir(folder_fd), n=3, cutoff=0.5)
        return f" Did you mean {', '.join(close)}?" if close else ""
    return ""


def read_regular(where: Place, max_bytes: int) -> bytes | None:
    """A regular file's content; None if nothing is there. Raises ToolRefused for all else, and huge ones."""
    status = where.status()
    if status is None:
        return None
    _require_regular(where, status)
    # O_NONBLOCK: a FIFO put there since the look above must not block the open.
    descriptor = os.open(
        where.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=where.folder_fd
    )
    with open(descriptor, "rb") as file:
        now = os.fstat(descriptor)
        _require_regular(where, now)
        if now.st_size > max_bytes:
            raise ToolRefused(
                f"{where.shown} is too large for this tool ({now.st_size:,} bytes, limit {max_bytes:,}). "
                f"Look at parts of it with shell, such as `head`, `grep -n` or `sed -n '100,150p'`."
            )
        return file.read(max_bytes + 1)


def _require_regular(where: Place, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ToolRefused(f"{where.shown} is a folder, not a file.")
    if not stat.S_ISREG(status.st_mode):
        raise ToolRefused(f"{where.shown} is no regular file (a pipe, socket or device); it is left alone.")


def draft_name(call_id: str) -> str:
    """The temporary name that one call writes to, so that a crash's leftover can be found again."""
    return f".nightcrew-{hashlib.sha256(call_id.encode()).hexdigest()[:12]}.draft"


def replace_file(where: Place, content: bytes, draft: str) -> None:
    """Put `content` there at once and durably; mode bits of what was there are kept.

    Never in place: a reader or a crash finds the old or the new, and no hard link is written through.
    """
    status = where.status()
    if status is not None:
        _require_regular(where, status)
    with suppress(FileNotFoundError):
        os.unlink(draft, dir_fd=where.folder_fd)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(draft, flags, 0o666, dir_fd=where.folder_fd), "wb") as file:
            if status is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, where.name, src_dir_fd=where.folder_fd, dst_dir_fd=where.folder_fd)
    except OSError:
        with suppress(OSError):
            os.unlink(draft, dir_fd=where.folder_fd)
        raise
    os.fsync(where.folder_fd)


def drop_draft(where: Place, draft: str) -> None:
    """Remove what a crash in `replace_file` may have left."""
    with suppress(OSError):
        os.unlink(draft, dir_fd=where.folder_fd)
