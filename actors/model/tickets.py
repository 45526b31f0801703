"""The waiting line before a model host, as files shared by processes; nobody blocks it by dying.

A ticket is a FIFO that its waiter keeps open. Whoever opens it for writing learns from the kernel whether
the waiter still lives (ENXIO: it does not), and wakes it by a byte. A ticket's name sorts by the time at
which its waiter counts as late, so the oldest claim is always first and nobody starves.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import time
from pathlib import Path


class Ticket:
    """One place in the line, held by its process; `close` gives it up."""

    def __init__(self, queue: Path, who: str, patience_s: float) -> None:
        """`patience_s` later than now this waiter counts as late: the sooner, the further ahead it stands."""
        queue.mkdir(mode=0o700, parents=True, exist_ok=True)
        late_at_ms = int((time.monotonic() + patience_s) * 1000)
        name = f"{late_at_ms:015d}.{time.monotonic_ns()}.{os.getpid()}.{_plain(who)}"
        self.path = queue / name
        # Opened under another name first: in its place but unopened, it would be taken for a dead one's.
        new = queue / f".{name}"
        os.mkfifo(new, 0o600)
        self._descriptor = os.open(new, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        new.rename(self.path)

    def wait(self, timeout_s: float) -> bool:
        """Until woken, or the time is over; True if woken."""
        ready, _, _ = select.select([self._descriptor], [], [], timeout_s)
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._descriptor, 64)
        return bool(ready)

    def ahead(self) -> str | None:
        """The name of the first live ticket before this one; None if this one is first."""
        for path in _in_line(self.path.parent):
            if path.name >= self.path.name:
                return None
            if _touch(path):
                return path.name
        return None

    def close(self) -> None:
        """Leave the line."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def wake_first(queue: Path) -> bool:
    """Wake the first waiter that lives; the dead before it are removed. False if nobody waits."""
    return any(_touch(path, b"!") for path in _in_line(queue))


def waiting(queue: Path) -> int:
    """How many wait now."""
    return len(names(queue))


def names(queue: Path) -> tuple[str, ...]:
    """Who waits now, the first one first, as `_plain` wrote them down."""
    return tuple(path.name.rpartition(".")[2] for path in _in_line(queue) if _touch(path))


def _in_line(queue: Path) -> list[Path]:
    try:
        return sorted(path for path in queue.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []


def _touch(path: Path, data: bytes = b"") -> bool:
    """Whether the ticket's waiter lives; `data` wakes it. A dead one's ticket is removed."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        # ENXIO: nobody has it open for reading.
        path.unlink(missing_ok=True)
        return False
    try:
        if data:
            with contextlib.suppress(BlockingIOError):
                os.write(descriptor, data)
    except BrokenPipeError:
        return False
    finally:
        os.close(descriptor)
    return True


def _plain(who: str) -> str:
    return re.sub(r"[^\w-]", "_", who)[:60]
