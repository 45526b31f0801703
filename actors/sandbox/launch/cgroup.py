"""A control group per command: a hard limit on processes that also binds root, unlike RLIMIT_NPROC.

Most containers allow no control groups. There only `CommandWatch` ends a fork bomb, and on two busy cores the
bomb can reach 20,000 processes before that.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_SEPARATE = _ROOT / "pids"  # cgroup version 1 has a separate hierarchy for this limit
_REMOVE_S = 0.5
_numbers = itertools.count()


@contextmanager
def process_limit(most: int) -> Iterator[Path | None]:
    """Limit the processes that this thread starts in the block, with all descendants, to `most` tasks in total.

    Yields the new group, for `join` after the start and `remove` at the end; None if none can be created.
    """
    group = _make(most) if os.getuid() == 0 else None
    home = _own_group() if group is not None and group.parent == _SEPARATE else None
    if group is None or home is None:
        yield group
        return
    # Move this thread; its children inherit the group. Moving another process takes 5 ms (a kernel lock).
    _move(group / "tasks", "0")
    try:
        yield group
    finally:
        _move(home / "tasks", "0")


def join(group: Path, pid: int) -> None:
    """Move the process into the group before it starts others; only for cgroup version 2.

    Version 2 cannot hold single threads, so `process_limit` could not move the calling thread.
    """
    if group.parent != _SEPARATE:
        _move(group / "cgroup.procs", str(pid))


def remove(group: Path) -> None:
    """Remove the group of an ended command, and the groups that killed agents left behind."""
    deadline = time.monotonic() + _REMOVE_S
    # The kernel releases the last tasks a moment after they have ended.
    while not _try_remove(group) and time.monotonic() < deadline:
        time.sleep(0.001)
    with suppress(OSError):
        for left in group.parent.glob("nightcrew-*"):
            if not Path(f"/proc/{left.name.split('-')[1]}").exists():
                _try_remove(left)


def _make(most: int) -> Path | None:
    parent = _SEPARATE if _SEPARATE.is_dir() else _ROOT
    group = parent / f"nightcrew-{os.getpid()}-{next(_numbers)}"
    try:
        group.mkdir()
        (group / "pids.max").write_text(str(most))
    except OSError:
        _try_remove(group)
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


def _try_remove(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
