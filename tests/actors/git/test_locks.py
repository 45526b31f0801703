"""A lock has one holder at a time. It ends with its holder, but not before a git that its holder started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from actors.git.errors import LockTimeoutError
from actors.git.locks import hold

_HOLDER = (
    "import sys, pathlib, subprocess\n"
    "from actors.git.locks import hold\n"
    "with hold(pathlib.Path(sys.argv[1]), 'worktree', 'x') as fd:\n"
    "    fds = (fd,) if sys.argv[2] == 'pass' else ()\n"
    "    child = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL, pass_fds=fds)\n"
    "    print(child.pid, flush=True)\n"
    "    sys.stdin.read()\n"
)


def holder(locks: Path, mode: str) -> tuple[subprocess.Popen[str], int]:
    """Start a process that takes the lock and starts a command; it holds the lock when this returns."""
    command = [sys.executable, "-c", _HOLDER, str(locks), mode]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_second_holder_waits_and_its_timeout_names_the_lock(locks: Path) -> None:
    process, child = holder(locks, "keep")
    with (
        pytest.raises(LockTimeoutError, match=r"lock of the worktree x for more than 0\.2 s"),
        hold(locks, "worktree", "x", wait_s=0.2),
    ):
        pass
    kill(process)
    os.kill(child, signal.SIGKILL)


def test_lock_of_a_killed_holder_is_free_at_once(locks: Path) -> None:
    process, child = holder(locks, "keep")
    kill(process)
    with hold(locks, "worktree", "x", wait_s=5):
        pass
    os.kill(child, signal.SIGKILL)


def test_command_that_outlives_its_killed_parent_keeps_the_lock(locks: Path) -> None:
    process, child = holder(locks, "pass")
    kill(process)
    with pytest.raises(LockTimeoutError), hold(locks, "worktree", "x", wait_s=0.2):
        pass
    os.kill(child, signal.SIGKILL)
    with hold(locks, "worktree", "x", wait_s=5):
        pass


def test_locks_of_different_things_do_not_wait_for_each_other(locks: Path) -> None:
    with hold(locks, "worktree", "x"), hold(locks, "worktree", "y"), hold(locks, "repository", "x", wait_s=1):
        pass


def test_waiter_that_gave_up_does_not_keep_the_lock_later(locks: Path) -> None:
    with hold(locks, "worktree", "x"):
        with pytest.raises(LockTimeoutError), hold(locks, "worktree", "x", wait_s=0.1):
            pass
        waiting = [thread for thread in threading.enumerate() if thread.name == "lock-wait"]
    for thread in waiting:
        thread.join(5)
    with hold(locks, "worktree", "x", wait_s=1):
        pass


def test_many_waiters_all_get_their_turn(locks: Path) -> None:
    turns: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            with hold(locks, "repository", "shared", wait_s=30):
                turns.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(turns) == sorted(list(range(6)) * 20)
