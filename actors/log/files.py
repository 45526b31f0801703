"""Append-only log files that many processes write to, with rotation and without locks while writing."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from store.shared import file_lock

MAX_LOG_BYTES = 10_000_000
KEPT_LOGS = 5
LOCK_NAME = ".rotate.lock"


class AppendFile:
    """One log file. Each line is a single `write(2)` on an O_APPEND descriptor, so lines never mix.

    A writer that finds the file too long rotates it under an flock. Writing itself takes no lock: a process
    that is stopped while it holds one would block the whole crew. A writer that checked the file just before
    another renamed it appends its line to `NAME.1`, so no line is lost.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_LOG_BYTES, kept: int = KEPT_LOGS) -> None:
        """`kept`: the number of older files that remain, from `NAME.1` (the newest) upwards."""
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._fd = -1

    def write(self, line: bytes) -> None:
        """Append one line, which ends in a newline. Raises OSError."""
        if self._size() + len(line) > self._max_bytes:
            self._rotate(len(line))
        os.write(self._fd, line)

    def close(self) -> None:
        """Close the descriptor; the next write opens the file again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _size(self) -> int:
        """The size of the file at our path. Opens it if it is not the one that we have open."""
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(self._path)  # noqa: PTH116 - runs for every line, at half the cost of Path.stat
            if self._fd >= 0 and os.fstat(self._fd).st_ino == status.st_ino:
                return status.st_size
        self.close()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return os.fstat(self._fd).st_size

    def _rotate(self, line_bytes: int) -> None:
        """Rename the files to the next number, unless another process does it or has done it."""
        lock = file_lock.try_acquire(self._path.with_name(LOCK_NAME))
        if lock is None:
            return  # another process rotates; exceed the size limit for a moment instead of waiting
        try:
            size = self._size()
            if size and size + line_bytes > self._max_bytes:
                self._shift()
            self._size()
        finally:
            os.close(lock)

    def _shift(self) -> None:
        # The oldest first: a crash in between leaves a gap in the numbers but loses no file.
        for number in range(self._kept - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                numbered(self._path, number).replace(numbered(self._path, number + 1))
        self._path.replace(numbered(self._path, 1))


def numbered(path: Path, number: int) -> Path:
    """The path of the `number`-th older file."""
    return path.with_name(f"{path.name}.{number}")
