"""Starting, watching and ending child processes. Nothing else in the project knows how that is done."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.home import Home, safe
from supervisor.errors import LaunchFailed, ZygoteAway
from supervisor.process import zygote

_PR_SET_CHILD_SUBREAPER = 36
ZYGOTE_PATIENCE_S = 30.0  # to its readiness; it is killed and another is started after that
FORK_PATIENCE_S = (
    5.0  # for one fork, which takes milliseconds: a zygote that was stopped holds nobody up longer
)


@dataclass(frozen=True, slots=True)
class Process:
    """A running child: its pid, its end of the control line, and (on Linux) a descriptor of the process."""

    name: str
    generation: int
    pid: int
    control: socket.socket
    pidfd: int | None

    def signal(self, number: int) -> None:
        """Send a signal to exactly this process; harmless if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            if self.pidfd is not None:
                signal.pidfd_send_signal(self.pidfd, number)
            else:
                os.kill(self.pid, number)

    def reap(self) -> str:
        """After its end: the exit as text, `exit:0`, `exit:70` or `signal:9`; releases the descriptors."""
        reason = "exit:unknown"
        # ChildProcessError: not our child (macOS, see `zygote.py`), so nobody can tell its status.
        with contextlib.suppress(ChildProcessError):
            _, status = os.waitpid(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            reason = f"signal:{-code}" if code < 0 else f"exit:{code}"
        self.control.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
        return reason


@dataclass(slots=True)
class Launcher:
    """Starts actors through the zygote, and the zygote itself whenever it is not there."""

    home: Home
    config: str
    _zygote: subprocess.Popen[bytes] | None = field(default=None)
    _line: socket.socket | None = field(default=None)
    _is_ready: bool = False
    _spawned_at: float = 0.0

    def start(self, name: str, kind: str, generation: int) -> Process:
        """Fork an actor. Raises `ZygoteAway` if it must be tried again shortly, else `LaunchFailed`."""
        order = {
            "name": name,
            "kind": kind,
            "generation": generation,
            "home": str(self.home.path),
            "config": self.config,
        }
        ours, theirs = socket.socketpair()
        stderr = os.open(
            self.home.logs / f"{safe(name)}.stderr",
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC,
            0o600,
        )
        try:
            pid = self._ask(order, [theirs.fileno(), stderr])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(stderr)
        ours.setblocking(False)
        pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        return Process(name, generation, pid, ours, pidfd)

    def _ask(self, order: dict[str, Any], descriptors: list[int]) -> int:
        if not self.is_ready() or self._line is None:
            raise ZygoteAway(f"{order['name']} waits for a zygote")
        try:
            zygote.send(self._line, order, descriptors)
            answer = zygote.receive(self._line)
        except OSError as error:
            # Killed or stopped in the meantime. Asking a new one is safe: an actor that the old one may
            # still have forked fails on its lock or is fenced off by the next generation.
            self.end_zygote()
            raise ZygoteAway(f"{order['name']} waits for a new zygote: {error}") from error
        if answer is None:
            self.end_zygote()
            raise ZygoteAway(f"{order['name']} waits for a new zygote: the old one has ended")
        if "pid" not in answer[0]:
            raise LaunchFailed(f"{order['name']} could not be forked: {answer[0].get('error')}")
        return int(answer[0]["pid"])

    def zygote_pid(self) -> int | None:
        """The running zygote's pid, for `status` and for reaping."""
        return None if self._zygote is None else self._zygote.pid

    def ensure_zygote(self) -> None:
        """Have a zygote before it is needed. Does not wait for it; raises `OSError` if there can be none now."""
        if self._zygote is not None and self._zygote.poll() is not None:
            self.end_zygote()
        if self._zygote is None:
            self._spawn_zygote()

    def is_ready(self) -> bool:
        """Whether a zygote waits for orders; starts one if not, and never waits. Raises `OSError`."""
        self.ensure_zygote()
        assert self._line is not None
        if self._is_ready:
            return True
        if not select.select([self._line], [], [], 0)[0]:
            if time.monotonic() - self._spawned_at > ZYGOTE_PATIENCE_S:
                self.end_zygote()
            return False
        self._is_ready = zygote.receive(self._line) is not None
        if not self._is_ready:
            self.end_zygote()
        return self._is_ready

    def _spawn_zygote(self) -> None:
        ours, theirs = socket.socketpair()
        root = Path(__file__).resolve().parents[2]
        with theirs, open(self.home.logs / "zygote.stderr", "ab") as stderr:
            self._zygote = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "supervisor.process.zygote",
                    str(theirs.fileno()),
                    str(self.home.store),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                cwd=root,
            )
        ours.settimeout(FORK_PATIENCE_S)
        self._line = ours
        self._is_ready = False
        self._spawned_at = time.monotonic()

    def end_zygote(self) -> None:
        """Close its line, at which it ends; its forks live on as the supervisor's children."""
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._zygote is not None:
            with contextlib.suppress(ProcessLookupError):
                self._zygote.kill()
            self._zygote.wait()
            self._zygote = None


def become_subreaper() -> None:
    """Linux: adopt the orphans of our descendants, so that their exits are ours to read."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_strangers(known: set[int]) -> None:
    """Bury adopted orphans (a killed agent's commands) without touching the exits of `known` children."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in known:
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(found.si_pid, os.WNOHANG)
