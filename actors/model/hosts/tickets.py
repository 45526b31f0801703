"""The queue for the slots of a host: one file per waiting process, and no lock that a dead process could hold.

A ticket is a FIFO that its process keeps open for reading. Another process that opens it for writing learns from
the kernel whether the owner is alive (ENXIO: it is not) and wakes it by writing a byte. Ticket names sort by
deadline, and the earliest deadline is served first.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import time
from pathlib import Path


class Ticket:
    """One place in the queue, held by its process until `close`."""

    def __init__(self, queue: Path, agent: str, patience_s: float) -> None:
        """The deadline is `patience_s` from now: the smaller, the nearer to the front."""
        queue.mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline_ms = int((time.monotonic() + patience_s) * 1000)
        name = f"{deadline_ms:015d}.{time.monotonic_ns()}.{os.getpid()}.{_file_name(agent)}"
        self.path = queue / name
        # Opened under a hidden name first: others would remove a ticket that its owner has not opened yet.
        hidden = queue / f".{name}"
        os.mkfifo(hidden, 0o600)
        self._descriptor = os.open(hidden, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        hidden.rename(self.path)

    def wait(self, timeout_s: float) -> bool:
        """Wait until woken, at most `timeout_s`; True if woken."""
        ready, _, _ = select.select([self._descriptor], [], [], timeout_s)
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._descriptor, 64)
        return bool(ready)

    def ahead(self) -> str | None:
        """The name of the first live ticket before this one; None if this one is first."""
        for path in _in_order(self.path.parent):
            if path.name >= self.path.name:
                return None
            if _is_alive(path):
                return path.name
        return None

    def close(self) -> None:
        """Leave the queue."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def wake_first(queue: Path) -> bool:
    """Wake the first live process in the queue and remove dead tickets before it. False if the queue is empty."""
    return any(_is_alive(path, b"!") for path in _in_order(queue))


def count(queue: Path) -> int:
    """The number of live processes in the queue."""
    return len(agents(queue))


def agents(queue: Path) -> tuple[str, ...]:
    """The agents in the queue in order, as their tickets name them (see `_file_name`)."""
    return tuple(path.name.rpartition(".")[2] for path in _in_order(queue) if _is_alive(path))


def _in_order(queue: Path) -> list[Path]:
    try:
        return sorted(path for path in queue.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []


def _is_alive(path: Path, data: bytes = b"") -> bool:
    """Whether the ticket's process is alive; `data` wakes it. Removes the ticket of a dead process."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        # ENXIO: no process has it open for reading.
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


def _file_name(agent: str) -> str:
    """An agent's name without the dots that separate the parts of a ticket's name."""
    return re.sub(r"[^\w-]", "_", agent)[:60]
