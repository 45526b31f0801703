"""For service managers: kill -9 of a program that says its pid as it starts -> the next one says its."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

# The shell says its pid first; it is the manager's own child until it is killed.
PROGRAM = "echo $$ > {fifo}; exec sleep 1000"


class Announcements:
    """A fifo that each start of the program writes its pid to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "started"
        os.mkfifo(self.path)
        # Read and write: it never ends, and its writers never wait for a reader.
        self._descriptor = os.open(self.path, os.O_RDWR)
        self._seen = b""

    def next_pid(self) -> int:
        """Block until a start is announced."""
        while b"\n" not in self._seen:
            self._seen += os.read(self._descriptor, 64)
        line, _, self._seen = self._seen.partition(b"\n")
        return int(line)


def measure(announced: Announcements, kills: int, pause_s: float) -> list[float]:
    """`pause_s`: how long the program must have run for its manager to restart it at once."""
    took_ms = []
    pid = announced.next_pid()
    for _ in range(kills):
        time.sleep(pause_s)
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        pid = announced.next_pid()
        took_ms.append((time.perf_counter() - began) * 1000)
    return took_ms
