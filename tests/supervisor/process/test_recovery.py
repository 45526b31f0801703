"""What a new supervisor ends before it starts anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from actors.home import Home
from supervisor.process import recovery
from tests.support.waiting import eventually

# Starts a bubblewrap that waits to be released, and dies: what a SIGKILL leaves in the middle of a set-up.
ORPHAN = """
import os, subprocess, sys
reader, writer = os.pipe()
os.set_inheritable(writer, True)
words = ["bwrap", "--ro-bind", "/", "/", "--bind", sys.argv[1], sys.argv[1]]
child = subprocess.Popen(
    [*words, "--block-fd", str(reader), "true"], pass_fds=[reader, writer], stdout=subprocess.DEVNULL
)
print(child.pid, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_a_sandbox_whose_agent_was_killed_while_it_was_set_up_is_ended(tmp_path: Path) -> None:
    mine, other = Home(tmp_path / "mine"), Home(tmp_path / "other")
    for home in (mine, other):
        (home.path / "work").mkdir(parents=True)
    pids = {home: _orphan(home) for home in (mine, other)}
    try:
        assert pids[mine] in recovery.kill_stray_sandboxes(mine)
        # What it had started is an orphan in its turn now.
        eventually(lambda: recovery.kill_stray_sandboxes(mine) == [], "the end of all of it")
        assert not _lives(pids[mine])
        assert _lives(pids[other])
    finally:
        eventually(lambda: recovery.kill_stray_sandboxes(other) == [], "the end of the other's")


def _orphan(home: Home) -> int:
    words = [sys.executable, "-c", ORPHAN, str(home.path / "work")]
    pid = int(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout)
    eventually(lambda: psutil.Process(pid).ppid() in (1, os.getpid()), "its parent's death")
    return pid


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
