"""Kills what an earlier supervisor left running. A new supervisor starts its own children and adopts none."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import psutil

from actors import log
from actors.home import Home
from store.shared.file_lock import is_held

ORPHAN_TIMEOUT_S = 1.5  # actors end by themselves within a second of their supervisor's death
KILL_TIMEOUT_S = 5.0


def kill_leftovers(home: Home) -> list[int]:
    """Kill the processes that still hold an actor's lock after `ORPHAN_TIMEOUT_S`; returns their pids."""
    held = [
        path for path in sorted(home.run.glob("*.lock")) if path != home.supervisor_lock and is_held(path)
    ]
    _wait(held, ORPHAN_TIMEOUT_S)
    killed = []
    for path in held:
        pid = _holder(path) if is_held(path) else None
        if pid is not None and _is_ours(pid):
            log.warning("leftover_killed", pid=pid, lock=path.name)
            _kill(pid)
            killed.append(pid)
    _wait(held, KILL_TIMEOUT_S)
    return killed


def kill_stray_sandboxes(home: Home) -> list[int]:
    """Kill bubblewrap processes whose agent was killed while it was setting up the sandbox; returns the pids.

    Such a process waits for ever. The sandbox of a living agent is not touched: it is a child of that agent,
    and only orphans are children of this process or of init.
    """
    killed = []
    folder = f"{home.path}{os.sep}"
    for process in psutil.process_iter(["name", "ppid", "cmdline"]):
        seen = process.info
        orphaned = seen["name"] == "bwrap" and seen["ppid"] in (1, os.getpid())
        if orphaned and any(word.startswith(folder) for word in seen["cmdline"] or ()):
            log.warning("stray_sandbox_killed", pid=process.pid)
            _kill(process.pid)
            killed.append(process.pid)
    return killed


def _wait(paths: list[Path], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while any(is_held(path) for path in paths) and time.monotonic() < deadline:
        time.sleep(0.02)


def _holder(path: Path) -> int | None:
    with contextlib.suppress(ValueError, OSError):
        return int(path.read_text().split()[0])
    return None


def _is_ours(pid: int) -> bool:
    """Whether `pid` is still one of our actors, and not another process that got the same number."""
    with contextlib.suppress(psutil.Error):
        line = psutil.Process(pid).cmdline()
        return bool(line) and (line[0].startswith("nightcrew:") or "supervisor" in " ".join(line))
    return False


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
