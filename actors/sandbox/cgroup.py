"""A hard bound on processes for root, whom RLIMIT_NPROC does not bind: a control group per command.

Only where there is one to be had; without it (most containers) the watcher alone ends a fork bomb, and one
that had to compete with the bomb for two busy cores was seen to let 20,000 processes through.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_SEPARATE = _ROOT / "pids"  # version 1: a hierarchy for processes alone
_REMOVE_S = 0.5
_numbers = itertools.count()


@contextmanager
def bounded(most: int) -> Iterator[Path | None]:
    """What the calling thread starts inside, and all that descends from it, has at most `most` tasks.

    Gives the new group, to be handed to `join` and, at the end, to `remove`; None where there can't be one.
    """
    group = _made(most) if os.getuid() == 0 else None
    home = _own_group() if group is not None and group.parent == _SEPARATE else None
    if group is None or home is None:
        yield group
        return
    # The thread moves itself, and a child inherits: moving another process takes a lock that costs 5 ms.
    _move(group / "tasks", "0")
    try:
        yield group
    finally:
        _move(home / "tasks", "0")


def join(group: Path, pid: int) -> None:
    """For version 2, whose groups do not take single threads: move the process before it starts others."""
    if group.parent != _SEPARATE:
        _move(group / "cgroup.procs", str(pid))


def remove(group: Path) -> None:
    """Take away the group of an ended command, and those that killed agents have left."""
    deadline = time.monotonic() + _REMOVE_S
    # The kernel lets go of the last tasks a moment after their end was seen.
    while not _removed(group) and time.monotonic() < deadline:
        time.sleep(0.001)
    with suppress(OSError):
        for left in group.parent.glob("nightcrew-*"):
            if not Path(f"/proc/{left.name.split('-')[1]}").exists():
                _removed(left)


def _made(most: int) -> Path | None:
    parent = _SEPARATE if _SEPARATE.is_dir() else _ROOT
    group = parent / f"nightcrew-{os.getpid()}-{next(_numbers)}"
    try:
        group.mkdir()
        (group / "pids.max").write_text(str(most))
    except OSError:
        _removed(group)
        return None
    return group


def _own_group() -> Path | None:
    try:
        lines = Path("/proc/thread-self/cgroup").read_text().splitlines()
    except OSError:
        return None
    paths = [path for _, controllers, path in (line.split(":", 2) for line in lines) if controllers == "pids"]
    return _SEPARATE / paths[0].lstrip("/") if paths else None


def _move(file: Path, task: str) -> None:
    with suppress(OSError):
        file.write_text(task)


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
