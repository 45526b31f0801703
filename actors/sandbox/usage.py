"""What a command uses now, over all of its processes, and the machine's boot for judging old evidence."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice
from pathlib import Path

import psutil


class UsageMeter:
    """Counts a command's processes and memory from its first process.

    With a process namespace the sandbox's own /proc is read through `/proc/PID/root`: it lists nothing else,
    so this costs little however busy the machine is, and no daemon can leave it. Without one psutil walks the
    tree.
    """

    def __init__(self, root_pid: int, *, namespaced: bool) -> None:
        self._root_pid = root_pid
        self._proc = Path(f"/proc/{root_pid}/root/proc") if namespaced else None

    def has_more_than(self, most: int) -> bool:
        """Whether there are more processes. Stops counting there: a fork bomb can outgrow its listing."""
        if self._proc is not None:
            with suppress(OSError):
                return len(_pids(self._proc, most + 1)) > most
        return len(self._tree()) > most

    def memory_bytes(self) -> int:
        """Private memory of all, plus the largest shared mapping once (forked workers share theirs)."""
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
    """The same until the machine restarts: unsynced files can be trusted only within one boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{psutil.boot_time():.0f}"
