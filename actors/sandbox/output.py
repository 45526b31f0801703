"""A command's output: its head and tail for the model, all of it in a file, and live for the screen."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

# The screen gets this much of one command; then a note that more follows.
_LIVE_BYTES = 1024 * 1024
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_]|[ -/]+[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def plain(text: str) -> str:
    """The text without escape sequences, and of each progress line (`\\r`) only the last state."""
    lines = _ESCAPES.sub("", text).split("\n")
    return _CONTROLS.sub("", "\n".join(_last_state(line) if "\r" in line else line for line in lines))


def _last_state(line: str) -> str:
    return next((state for state in reversed(line.split("\r")) if state), "")


class OutputCapture:
    """Collects a command's output in bounded memory.

    Call `feed` from one thread. The whole output (up to `spill_bytes`) goes to `spill_path` as it arrives, so
    it survives a killed agent. `on_output` receives the decoded text live.
    """

    def __init__(
        self,
        spill_path: Path | None,
        *,
        shown_chars: int,
        spill_bytes: int,
        on_output: Callable[[str], None] | None,
    ) -> None:
        self.total_bytes = 0
        self._shown_chars = shown_chars
        # A UTF-8 character has at most four bytes, and escape sequences that are removed need room too.
        self._keep_bytes = shown_chars * 4
        self._head = bytearray()
        self._tail = bytearray()
        self._spill_left = spill_bytes
        self._spill_path = spill_path
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        self._spill = os.open(spill_path, flags, 0o600) if spill_path is not None else None
        self._on_output = on_output
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, chunk: bytes) -> None:
        """Add the next bytes of the output."""
        before = self.total_bytes
        self.total_bytes += len(chunk)
        if len(self._head) < self._keep_bytes:
            self._head += chunk[: self._keep_bytes - len(self._head)]
        self._tail += chunk[-self._keep_bytes :]
        if len(self._tail) > 2 * self._keep_bytes:
            del self._tail[: -self._keep_bytes]
        if self._spill is not None and self._spill_left > 0:
            self._spill_left -= os.write(self._spill, chunk[: self._spill_left])
        if self._on_output is not None and before < _LIVE_BYTES:
            more = "\n[more follows; it is not shown live]\n" if self.total_bytes >= _LIVE_BYTES else ""
            self._on_output(self._decoder.decode(chunk) + more)

    def text(self) -> str:
        """The plain text of at most `shown_chars` characters; a longer one loses its middle."""
        if self.total_bytes <= self._keep_bytes:
            return shorten(plain(self._head.decode("utf-8", "replace")), self._shown_chars, self._spill_path)
        head, tail = (plain(part.decode("utf-8", "replace")) for part in (self._head, self._tail))
        return _join(head, tail, self._shown_chars, f"{self.total_bytes:,} bytes in all", self._spill_path)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._spill is not None:
            os.close(self._spill)
            self._spill = None

    def __enter__(self) -> OutputCapture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def shorten(text: str, shown_chars: int, whole: Path | None) -> str:
    """The text; if it is too long, its head and tail and a line that names the file `whole`."""
    if len(text) <= shown_chars:
        return text
    return _join(text, text, shown_chars, f"{len(text):,} characters in all", whole)


def _join(head: str, tail: str, shown_chars: int, extent: str, whole: Path | None) -> str:
    half = shown_chars // 2
    where = f"; the output is in {whole}, page through it with read_file" if whole is not None else ""
    return f"{head[:half]}\n[... the middle is left out ({extent}){where} ...]\n{tail[-half:]}"


def read_spilled(spill_path: Path, shown_chars: int) -> str:
    """The text of a stored output, as `OutputCapture.text` returns it; empty if there is no file."""
    try:
        with spill_path.open("rb") as spilled:
            content = spilled.read()
    except OSError:
        return ""
    return shorten(plain(content.decode("utf-8", "replace")), shown_chars, spill_path)
