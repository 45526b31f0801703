"""The file that an agent's window shows: its committed rows, then the text that is streaming now.

Only the tmux actor uses it. The file is always `committed blocks + live parts`. Live text comes in datagrams that may
be lost, repeated or late, so it is only a preview. If the preview is a prefix of the committed row, the rest of the
row is appended. Otherwise the file is replaced by the committed rows and the newer live parts. The file starts with
codes that clear the terminal, because `tail -F` prints a new file below the old.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from actors.screen.errors import ScreenUnwritable
from actors.screen.render import render_entry, render_live, reply_header, reply_parts
from actors.text import paint
from store.entries import Entry, ReplyBody
from store.shared.replace import replace_file

CLEAR = b"\x1b[H\x1b[2J\x1b[3J"  # home, screen, scrollback
MAX_FILE_BYTES = 4_000_000
KEPT_BYTES = 500_000  # size of a replacement, in whole blocks; more than the 1000 lines that a window reads
GAP_MARK = paint("grey", "[…]")


@dataclass(slots=True)
class _Live:
    """The text of one model call that is in the file. `shown` is rendered, without leading white space."""

    stream: int
    next_offset: int = 0
    written: str = ""  # the part of the file, header included
    shown: str = ""
    is_whole: bool = True


class WindowFile:
    """The file of one agent. Not thread-safe.

    A failed write sets `needs_rebuild`; then all methods do nothing until the next `rebuild`. A full disk also
    raises `ScreenUnwritable`; a file that somebody deleted does not.
    """

    def __init__(self, path: Path, agent: str) -> None:
        """Opens no file: call `rebuild` first."""
        self.path = path
        self.needs_rebuild = True
        self._agent = agent
        self._fd = -1
        self._blocks: deque[int] = deque()  # lengths in bytes of the committed blocks
        self._committed_bytes = 0
        self._live: list[_Live] = []
        self._closed_stream = -1

    def rebuild(self, entries: Sequence[Entry]) -> None:
        """Replace the file by the newest of these rows, which are given oldest first; without live text."""
        blocks: list[bytes] = []
        size = 0
        for entry in reversed(entries):
            block = _encode(render_entry(entry))
            size += len(block)
            if blocks and size > KEPT_BYTES:
                break
            blocks.append(block)
        self._live.clear()
        self._replace(blocks[::-1])

    def append_live(self, stream: int, offset: int, text: str, at: datetime) -> None:
        """Add a piece of a streaming reply: the characters of the call's text from `offset` on.

        `stream` numbers the agent's model calls, retries included, in increasing order. Ignores pieces of a call
        that is older than the current one or whose reply was committed. Pieces may overlap.
        """
        if (
            self.needs_rebuild
            or stream <= self._closed_stream
            or (self._live and stream < self._live[-1].stream)
        ):
            return
        separator = self._open_live(stream)
        live = self._live[-1]
        fresh = render_live(text[max(0, live.next_offset - offset) :])
        if not live.shown:
            fresh = fresh.lstrip()
        live.shown += fresh
        if offset > live.next_offset:
            live.is_whole = False
            fresh = GAP_MARK + fresh
        live.next_offset = max(live.next_offset, offset + len(text))
        header = "" if live.written else reply_header(self._agent, at)
        live.written += header + fresh
        self._append(separator + header + fresh)

    def commit(self, entry: Entry) -> None:
        """Add a committed row. A reply without a `stream` belongs to the call that is streaming now."""
        if self.needs_rebuild:
            return
        if not isinstance(entry.body, ReplyBody):
            self.append_entry(entry)
            return
        stream = entry.body.stream
        if stream is None and self._live:
            stream = self._live[-1].stream
        rest = self._rest_of(entry, entry.body, stream)
        if stream is not None:
            self._closed_stream = max(self._closed_stream, stream)
        if rest is None:
            self._live = [live for live in self._live if live.stream > self._closed_stream]
            self._insert(_encode(render_entry(entry)))
            return
        block = self._live[0].written + rest
        self._live = []
        self._append(rest)
        self._count(len(_encode(block)))

    def append_entry(self, entry: Entry) -> None:
        """Add a committed row that was not streamed, before the text that is streaming now."""
        if self.needs_rebuild:
            return
        block = render_entry(entry)
        if self._live:
            self._insert(_encode(block))
        else:
            self._append(block)
            self._count(len(_encode(block)))

    def drop_live(self, stream: int) -> None:
        """Remove the live text of this call and of earlier ones: the call was cancelled and has no row.

        If a row of an earlier call arrives later, it is added completely.
        """
        self._closed_stream = max(self._closed_stream, stream)
        kept = [live for live in self._live if live.stream > stream]
        if len(kept) < len(self._live) and not self.needs_rebuild:
            self._live = kept
            self._insert(b"")

    def close(self) -> None:
        """Close the descriptor; the file stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _rest_of(self, entry: Entry, reply: ReplyBody, stream: int | None) -> str | None:
        """The text that completes the live part to this reply's block; None if it is not a prefix."""
        if len(self._live) != 1 or self._live[0].stream != stream or not self._live[0].is_whole:
            return None
        parts, shown = reply_parts(entry, reply), self._live[0].shown
        if parts.text.startswith(shown):
            return parts.text[len(shown) :] + parts.tail
        if shown.rstrip() == parts.text.rstrip():  # the stream ended in other white space
            return ("" if shown.endswith("\n") else "\n") + parts.tail
        return None

    def _insert(self, block: bytes) -> None:
        """Replace the file, with the block before the remaining live parts."""
        kept, size = [block] if block else [], len(block)
        start = self._committed_bytes
        for length in reversed(self._blocks):
            size += length
            if kept and size > KEPT_BYTES:
                break
            start -= length
            kept.append(os.pread(self._fd, length, start))
        self._replace(kept[::-1])

    def _count(self, block_bytes: int) -> None:
        """Record that a block was added to the committed part; shorten the file if it is too long."""
        self._blocks.append(block_bytes)
        self._committed_bytes += block_bytes
        if self._committed_bytes > MAX_FILE_BYTES:
            last = self._blocks.pop()
            self._committed_bytes -= last
            self._insert(os.pread(self._fd, last, self._committed_bytes))

    def _open_live(self, stream: int) -> str:
        """Make `stream` the current call; returns the separator to write after an older call's text."""
        if self._live and self._live[-1].stream == stream:
            return ""
        separator = ""
        if self._live and not self._live[-1].written.endswith("\n"):
            separator = "\n"
            self._live[-1].written += separator
        self._live.append(_Live(stream))
        return separator

    def _append(self, text: str) -> None:
        """Append to the file, or set `needs_rebuild` if the path no longer names the open file."""
        try:
            if self.path.stat().st_ino != os.fstat(self._fd).st_ino:
                self.needs_rebuild = True
            else:
                _write_all(self._fd, _encode(text))
        except FileNotFoundError:
            self.needs_rebuild = True
        except OSError as error:
            self.needs_rebuild = True
            raise ScreenUnwritable(f"cannot write the window file {self.path}: {error.strerror}") from error

    def _replace(self, blocks: Sequence[bytes]) -> None:
        """Replace the file by these blocks and the live parts."""
        self.needs_rebuild = True
        content = b"".join([CLEAR, *blocks, *(_encode(live.written) for live in self._live)])
        self.close()
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self.path, content)
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise ScreenUnwritable(f"cannot write the window file {self.path}: {error.strerror}") from error
        self._blocks = deque(map(len, blocks))
        self._committed_bytes = len(CLEAR) + sum(self._blocks)
        self.needs_rebuild = False


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
