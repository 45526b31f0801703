"""The processes and the memory that a command uses, and an id of the machine's current boot."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice
from pathlib import Path

import psutil


class UsageMeter:
    """Measures all processes that descend from a command's first process.

    With a process namespace it reads the sandbox's own /proc through `/proc/PID/root`. That lists only the
    command's processes, daemons included, so the cost does not depend on how busy the machine is. Without a
    namespace psutil walks the process tree.
    """

    def __init__(self, root_pid: int, *, namespaced: bool) -> None:
        self._root_pid = root_pid
        self._proc = Path(f"/proc/{root_pid}/root/proc") if namespaced else None

    def has_more_than(self, most: int) -> bool:
        """Whether there are more than `most` processes. Stops counting there: a fork bomb never ends."""
        if self._proc is not None:
            with suppress(OSError):
                return len(_pids(self._proc, most + 1)) > most
        return len(self._tree()) > most

    def memory_bytes(self) -> int:
        """The private memory of all processes, plus the largest shared one once (forked workers share)."""
        if self._proc is not None:
            with suppress(OSError):
                sizes = [_private_and_shared(self._proc / pid / "status") for pid in _pids(self._proc)]
                return sum(private for private, _ in sizes) + max((shared for _, shared in sizes), default=0)
        total = 0
        for process in self._tree():
            with suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def _tree(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            root = psutil.Process(self._root_pid)
            return [root, *root.children(recursive=True)]
        return []


def _pids(proc: Path, most: int | None = None) -> list[str]:
    with os.scandir(proc) as entries:
        return list(islice((entry.name for entry in entries if entry.name.isdigit()), most))


def _private_and_shared(status: Path) -> tuple[int, int]:
    private = shared = 0
    with suppress(OSError, ValueError), status.open() as lines:
        for line in lines:
            if line.startswith("RssAnon:"):
                private = int(line.split()[1]) * 1024
            elif line.startswith("RssShmem:"):
                shared = int(line.split()[1]) * 1024
                break
    return private, shared


def boot_id() -> str:
    """An id that changes when the machine restarts: unsynced files can be trusted only within one boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{psutil.boot_time():.0f}"
