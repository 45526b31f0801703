"""The file behind one agent's window: committed rows, then what is streaming now. For the tmux actor alone.

The file always is `committed blocks + live parts`. Live text comes from datagrams that may be lost, doubled
or late, so it is only ever a preview: when the committed row arrives and the preview was a true beginning of
it, the missing rest is appended; in every other case the file is replaced by one of committed rows (and
younger live parts). The file starts by clearing the terminal: `tail -F` prints a new file below the old one.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from actors.screen.errors import ScreenUnwritable
from actors.screen.render import paint, render_entry, render_live, reply_header, reply_parts
from store.entries import Entry, ReplyBody

CLEAR = b"\x1b[H\x1b[2J\x1b[3J"  # home, screen, scrollback
MAX_FILE_BYTES = 4_000_000
KEPT_BYTES = 500_000  # what a replacement keeps, in whole blocks: more than the 1000 lines a new window reads
GAP_MARK = paint("grey", "[…]")


@dataclass(slots=True)
class _Live:
    """One model call's text as far as it was shown. `shown` is as rendered, without its leading blanks."""

    stream: int
    next_offset: int = 0
    written: str = ""  # the part as it stands in the file, header included
    shown: str = ""
    is_whole: bool = True


class WindowFile:
    """Not thread-safe. What cannot be shown (a full disk raises `ScreenUnwritable`, a file deleted under us
    does not) leaves `needs_rebuild` true, and until the next `rebuild` every other method does nothing.
    """

    def __init__(self, path: Path, agent: str) -> None:
        """Opens nothing: `rebuild` comes first."""
        self.path = path
        self.needs_rebuild = True
        self._agent = agent
        self._fd = -1
        self._blocks: deque[int] = deque()  # lengths in bytes of the committed blocks
        self._committed_bytes = 0
        self._live: list[_Live] = []
        self._closed_stream = -1

    def rebuild(self, entries: Sequence[Entry]) -> None:
        """Replace the file by the newest of these rows (the latest committed, oldest first); no live text."""
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
        """Show a piece of a streaming reply: the characters of the call's text from `offset` on.

        `stream` numbers this agent's model calls, retries included, and only grows; a piece of a call whose
        reply was committed (or that is older) is dropped, as is what was shown before. Pieces may overlap.
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
        """Show a committed row; for a reply without a `stream`, the call streaming now counts as its own."""
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
        """Show a committed row that never streamed; it stands before what is streaming now."""
        if self.needs_rebuild:
            return
        block = render_entry(entry)
        if self._live:
            self._insert(_encode(block))
        else:
            self._append(block)
            self._count(len(_encode(block)))

    def drop_live(self, stream: int) -> None:
        """Take back what this call, or one before it, has streamed: it was cancelled, no row will follow.

        Should a row of an older call be drawn later, it is shown whole.
        """
        self._closed_stream = max(self._closed_stream, stream)
        kept = [live for live in self._live if live.stream > stream]
        if len(kept) < len(self._live) and not self.needs_rebuild:
            self._live = kept
            self._insert(b"")

    def close(self) -> None:
        """Give back the descriptor; the file stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _rest_of(self, entry: Entry, reply: ReplyBody, stream: int | None) -> str | None:
        """What must follow the live part to make it this reply's block; None if it cannot be made so."""
        if len(self._live) != 1 or self._live[0].stream != stream or not self._live[0].is_whole:
            return None
        parts, shown = reply_parts(entry, reply), self._live[0].shown
        if parts.text.startswith(shown):
            return parts.text[len(shown) :] + parts.tail
        if shown.rstrip() == parts.text.rstrip():  # the model went on with blank space
            return ("" if shown.endswith("\n") else "\n") + parts.tail
        return None

    def _insert(self, block: bytes) -> None:
        """Replace the file so that the block stands before the live parts that stay."""
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
        """Book a block that now stands at the end of the committed part; shorten a file grown too long."""
        self._blocks.append(block_bytes)
        self._committed_bytes += block_bytes
        if self._committed_bytes > MAX_FILE_BYTES:
            last = self._blocks.pop()
            self._committed_bytes -= last
            self._insert(os.pread(self._fd, last, self._committed_bytes))

    def _open_live(self, stream: int) -> str:
        """Make `stream` the call that is streaming; what must be written between it and an older one."""
        if self._live and self._live[-1].stream == stream:
            return ""
        separator = ""
        if self._live and not self._live[-1].written.endswith("\n"):
            separator = "\n"
            self._live[-1].written += separator
        self._live.append(_Live(stream))
        return separator

    def _append(self, text: str) -> None:
        """Add to the file, unless it is no longer the one at its path (then it needs a rebuild)."""
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
        """Put a new file of these blocks and the live parts in the old one's place."""
        self.needs_rebuild = True
        new = self.path.with_name(f".{self.path.name}.new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(new, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            self.close()
            self._fd = fd
            _write_all(fd, b"".join([CLEAR, *blocks, *(_encode(live.written) for live in self._live)]))
            new.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink()
            raise ScreenUnwritable(f"cannot write the window file {self.path}: {error.strerror}") from error
        self._blocks = deque(map(len, blocks))
        self._committed_bytes = len(CLEAR) + sum(self._blocks)
        self.needs_rebuild = False


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
