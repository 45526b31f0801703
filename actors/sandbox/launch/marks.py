"""Find and kill a command's processes by a variable in their environment, where no namespace contains them.

Daemons inherit the variable even if they leave the command's process group and tree.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import psutil

MARK_VARIABLE = "NIGHTCREW_COMMAND"
_MAX_ROUNDS = 10


def kill_marked(mark: str) -> None:
    """Kill every process whose environment has `mark`."""
    # At least two rounds: a process that was being forked in the first is found in the next.
    for _ in range(_MAX_ROUNDS):
        victims = [process for process in psutil.process_iter() if _has_mark(process, mark)]
        for victim in victims:
            with suppress(psutil.Error):
                victim.kill()
        if not victims:
            return


def kill_group_and_marked(group: int, mark: str) -> None:
    """Kill the process group, then every process that has `mark`."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    kill_marked(mark)


def _has_mark(process: psutil.Process, mark: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK_VARIABLE) == mark
    except (psutil.Error, OSError):
        return False
