"""Append-only log files that many processes share, with rotation. No thread, no lock while writing."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

MAX_LOG_BYTES = 10_000_000
KEPT_LOGS = 5
LOCK_NAME = ".rotate.lock"


class AppendFile:
    """One log file: `write` is a single `write(2)` on an O_APPEND descriptor, so lines never mix.

    Whoever finds the file too long rotates it under a flock. Writers take no lock: a process stopped while it
    held one would silence the whole crew. A writer that looked at the file just before it was renamed adds
    its line to `NAME.1`: no line is lost.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_LOG_BYTES, kept: int = KEPT_LOGS) -> None:
        """`kept` older files remain as `NAME.1` (the newest) to `NAME.<kept>`."""
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._fd = -1

    def write(self, line: bytes) -> None:
        """Append one line with its newline. Raises OSError."""
        if self._size() + len(line) > self._max_bytes:
            self._rotate(len(line))
        os.write(self._fd, line)

    def close(self) -> None:
        """Close the descriptor; the next write opens the file again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _size(self) -> int:
        """Bytes in the file at our path, which is opened (again) if it is not the one we hold."""
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(self._path)  # noqa: PTH116 - half the cost of Path.stat, on every line
            if self._fd >= 0 and os.fstat(self._fd).st_ino == status.st_ino:
                return status.st_size
        self.close()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return os.fstat(self._fd).st_size

    def _rotate(self, line_bytes: int) -> None:
        """Shift the files by one, unless another process is doing it or has done it."""
        lock = os.open(self._path.with_name(LOCK_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size = self._size()
            if size and size + line_bytes > self._max_bytes:
                self._shift()
            self._size()
        except BlockingIOError:
            pass  # a file that grows past its limit for a moment is better than a wait
        finally:
            os.close(lock)

    def _shift(self) -> None:
        # From the oldest down: killed anywhere in between, this leaves a gap in the numbers, loses no file.
        for number in range(self._kept - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                numbered(self._path, number).replace(numbered(self._path, number + 1))
        self._path.replace(numbered(self._path, 1))


def numbered(path: Path, number: int) -> Path:
    """Where the file's `number`-th predecessor lies."""
    return path.with_name(f"{path.name}.{number}")
