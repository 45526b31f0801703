"""Read log files for `nightcrew log [AGENT] [-f]`. Imports no logging library."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from actors.log.files import KEPT_LOGS, numbered

POLL_S = 0.2


def follow(
    paths: Sequence[Path], *, lines: int = 50, wait: bool = False, stop: threading.Event | None = None
) -> Iterator[str]:
    """The last `lines` lines of these logs in order of time; with `wait` also new ones until `stop` is set.

    Lines are JSON texts without newline. A rotated file is read to its end before its successor.
    """
    stop = stop or threading.Event()
    tails = [_Tail(path) for path in paths]
    try:
        recent = [line for tail in tails for line in tail.recent(lines)]
        recent.sort(key=_time_of)
        yield from recent[-lines:] if lines > 0 else []
        while wait and not stop.is_set():
            fresh = [line for tail in tails for line in tail.fresh()]
            yield from fresh
            if not fresh:
                stop.wait(POLL_S)
    finally:
        for tail in tails:
            tail.close()


class _Tail:
    """Reads one log file by its name, across rotations."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._partial = b""

    def recent(self, count: int) -> list[str]:
        """Up to `count` last lines, also from older files; the next `fresh` continues after them."""
        lines = self.fresh()
        for number in range(1, KEPT_LOGS + 1):
            if len(lines) >= count:
                break
            try:
                older = numbered(self._path, number).read_bytes()
            except FileNotFoundError:
                continue
            lines = older.decode("utf-8", "replace").splitlines() + lines
        return lines[-count:] if count > 0 else []

    def fresh(self) -> list[str]:
        """Complete lines that were added since the last call."""
        lines = self._read()
        if self._is_replaced():
            lines += self._read()  # lines added between the read and the rename
            self.close()
            self._partial = b""
            lines += self._read()
        return lines

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> list[str]:
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return []
        *whole, self._partial = (self._partial + self._file.read()).split(b"\n")
        return [line.decode("utf-8", "replace") for line in whole]

    def _is_replaced(self) -> bool:
        """Whether another file has our name now. While no file has it, a rotation is in progress."""
        if self._file is None:
            return False
        try:
            return self._path.stat().st_ino != _inode(self._file)
        except FileNotFoundError:
            return False


def _inode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_ino


def _time_of(line: str) -> str:
    try:
        return str(json.loads(line)["time"])
    except (ValueError, KeyError, TypeError):
        return ""
