"""Open files only inside one folder, whatever symbolic links a command has made there.

Walks the path by directory descriptors, one name at a time, and resolves symbolic links itself instead of in
the kernel. So no link leads out of the folder, and nothing can be replaced between check and use. Works on
Linux and macOS.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from actors.text import similar
from actors.tools.base import ToolRefused

_MAX_LINKS = 40
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Location:
    """A name in an open folder. It is no symbolic link, and may not exist. `shown`: its path below the root."""

    folder_fd: int
    name: str
    shown: str

    def status(self) -> os.stat_result | None:
        """The status of the file; None if it does not exist."""
        try:
            return os.stat(self.name, dir_fd=self.folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None


@contextmanager
def locate(
    root: Path, path: str, *, shown_at: str | None = None, make_folders: bool = False
) -> Iterator[Location]:
    """The location of `path`, relative to `root` or absolute below it. Raises ToolRefused if it leads out.

    `shown_at` is the path at which commands see `root`, if that is another one: absolute paths may begin with it.
    An OSError inside the block becomes a ToolRefused with the system's message.
    """
    walk = _Walk(root, path, shown_at, make_folders)
    try:
        yield walk.to_end()
    except OSError as error:
        raise ToolRefused(f"{path}: {error.strerror or error}.") from error
    finally:
        walk.close()


class _Walk:
    def __init__(self, root: Path, path: str, shown_at: str | None, make_folders: bool) -> None:
        self._root = root
        self._shown_at = shown_at
        self._path = path
        self._make_folders = make_folders
        self._pending = deque(_parts_below(root, path, shown_at))
        self._folders: list[int] = []
        self._names: list[str] = []
        self._links = 0

    def to_end(self) -> Location:
        self._folders.append(os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        while self._pending:
            name = self._pending.popleft()
            if name == "..":
                self._up()
            elif name.casefold() == ".git":
                raise ToolRefused(
                    f"{self._path}: .git belongs to the crew; its files can be neither read nor written."
                )
            else:
                found = self._enter(name)
                if found is not None:
                    return found
        return Location(self._folders[-1], ".", "/".join(self._names) or ".")

    def close(self) -> None:
        while self._folders:
            os.close(self._folders.pop())

    def _enter(self, name: str) -> Location | None:
        """Enter the folder `name`; returns the location if it is the last part of the path."""
        here = self._folders[-1]
        shown = "/".join([*self._names, name])
        try:
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
        except FileNotFoundError:
            if not self._pending:
                return Location(here, name, shown)
            if not self._make_folders:
                raise ToolRefused(
                    f"{self._path}: there is no folder {shown}.{similar_names(here, name)}"
                ) from None
            os.mkdir(name, dir_fd=here)
        else:
            if stat.S_ISLNK(status.st_mode):
                self._follow(os.readlink(name, dir_fd=here), shown)
                return None
            if not self._pending:
                return Location(here, name, shown)
            if not stat.S_ISDIR(status.st_mode):
                raise ToolRefused(f"{self._path}: {shown} is a file, not a folder.")
        self._folders.append(os.open(name, _FOLDER, dir_fd=here))
        self._names.append(name)
        return None

    def _follow(self, target: str, shown: str) -> None:
        self._links += 1
        if self._links > _MAX_LINKS:
            raise ToolRefused(f"{self._path}: its symbolic links form a loop.")
        if target.startswith("/"):
            try:
                parts = _parts_below(self._root, target, self._shown_at)
            except ToolRefused:
                raise ToolRefused(
                    f"{self._path}: the symbolic link {shown} leads outside the worktree."
                ) from None
            while len(self._folders) > 1:
                self._up()
        else:
            parts = _split(target)
        self._pending.extendleft(reversed(parts))

    def _up(self) -> None:
        if len(self._folders) == 1:
            raise ToolRefused(
                f"{self._path}: leads outside {self._shown_at or self._root}. Use a path inside it."
            )
        os.close(self._folders.pop())
        self._names.pop()


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _parts_below(root: Path, path: str, shown_at: str | None) -> list[str]:
    if not path.strip() or "\0" in path:
        raise ToolRefused(
            "The path is empty or contains a NUL character. Use the path of a file in the worktree."
        )
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise ToolRefused("The path contains characters that no file name can have.") from None
    if path.startswith("~"):
        raise ToolRefused(f"{path}: home folders are not accessible. Use a path relative to the worktree.")
    if not path.startswith("/"):
        return _split(path)
    for base in dict.fromkeys((shown_at or str(root), str(root), str(root.resolve()))):
        if path == base or path.startswith(base.rstrip("/") + "/"):
            return _split(path[len(base) :])
    raise ToolRefused(f"{path} is outside of {shown_at or root}. Use a path relative to that folder.")


def similar_names(folder_fd: int, name: str) -> str:
    """' Did you mean NAME?', to append to an error; empty if no name in the folder is similar."""
    with suppress(OSError):
        close = similar(name, os.listdir(folder_fd), most=3, cutoff=0.5)
        return f" Did you mean {', '.join(close)}?" if close else ""
    return ""


def read_regular(where: Location, max_bytes: int) -> bytes | None:
    """The content of a regular file; None if it does not exist. Raises ToolRefused if it is too large."""
    status = where.status()
    if status is None:
        return None
    _require_regular(where, status)
    # O_NONBLOCK: opening must not block on a FIFO that replaced the file since the check above.
    descriptor = os.open(
        where.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=where.folder_fd
    )
    with open(descriptor, "rb") as file:
        now = os.fstat(descriptor)
        _require_regular(where, now)
        if now.st_size > max_bytes:
            raise ToolRefused(
                f"{where.shown} is too large for this tool ({now.st_size:,} bytes, limit {max_bytes:,}). "
                f"Read parts of it with shell, for example `head`, `grep -n` or `sed -n '100,150p'`."
            )
        return file.read(max_bytes + 1)


def _require_regular(where: Location, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ToolRefused(f"{where.shown} is a folder, not a file.")
    if not stat.S_ISREG(status.st_mode):
        raise ToolRefused(f"{where.shown} is not a regular file but a pipe, socket or device.")


def draft_name(call_id: str) -> str:
    """The name of a call's temporary file. It depends on the call, so it is found again after a crash."""
    return f".nightcrew-{hashlib.sha256(call_id.encode()).hexdigest()[:12]}.draft"


def replace_file(where: Location, content: bytes, draft: str) -> None:
    """Write `content` to the file atomically and durably, keeping the file's permissions. Raises OSError.

    Writes a new file and renames it: readers see the old or the new content, and other hard links to the file
    keep the old one.
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


def delete_draft(where: Location, draft: str) -> None:
    """Delete the temporary file that a crash in `replace_file` may have left."""
    with suppress(OSError):
        os.unlink(draft, dir_fd=where.folder_fd)
