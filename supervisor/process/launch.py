"""Starts and ends child processes, through the zygote. No other module forks or reaps actors."""

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

from actors.home import Home, file_name
from supervisor.errors import LaunchFailed, ZygoteNotReady
from supervisor.process import zygote

_PR_SET_CHILD_SUBREAPER = 36
ZYGOTE_START_TIMEOUT_S = 30.0  # a zygote that is not ready by then is killed and replaced
FORK_TIMEOUT_S = 5.0  # a fork takes milliseconds; this limits how long a stopped zygote blocks us


@dataclass(frozen=True, slots=True)
class Process:
    """A running child: its pid, our end of its control socket, and on Linux a descriptor of the process."""

    name: str
    generation: int
    pid: int
    control: socket.socket
    pidfd: int | None

    def signal(self, number: int) -> None:
        """Send a signal to exactly this process. Harmless if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            if self.pidfd is not None:
                signal.pidfd_send_signal(self.pidfd, number)
            else:
                os.kill(self.pid, number)

    def reap(self) -> str:
        """Reap the ended process and close its descriptors; returns `exit:CODE` or `signal:NUMBER`.

        `exit:unknown` where the process is not our child, and so its status cannot be read.
        """
        reason = "exit:unknown"
        # ChildProcessError: not our child, as on macOS (see `zygote.py`).
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
    """Starts actors through the zygote, and starts the zygote itself whenever there is none."""

    home: Home
    config: str
    _zygote: subprocess.Popen[bytes] | None = field(default=None)
    _socket: socket.socket | None = field(default=None)
    _is_ready: bool = False
    _spawned_at: float = 0.0

    def start(self, name: str, kind: str, generation: int) -> Process:
        """Fork an actor. Raises `ZygoteNotReady` if the caller should try again shortly, else `LaunchFailed`."""
        order = {
            "name": name,
            "kind": kind,
            "generation": generation,
            "home": str(self.home.path),
            "config": self.config,
        }
        ours, theirs = socket.socketpair()
        stderr = os.open(
            self.home.logs / f"{file_name(name)}.stderr",
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
        if not self.is_ready() or self._socket is None:
            raise ZygoteNotReady(f"{order['name']} waits for a zygote")
        try:
            zygote.send(self._socket, order, descriptors)
            answer = zygote.receive(self._socket)
        except OSError as error:
            # The zygote was killed or stopped. It is safe to ask a new one: if the old one still forks the actor,
            # that process cannot get the actor's lock, or its writes are refused for their old generation.
            self.end_zygote()
            raise ZygoteNotReady(f"{order['name']} waits for a new zygote: {error}") from error
        if answer is None:
            self.end_zygote()
            raise ZygoteNotReady(f"{order['name']} waits for a new zygote: the old one has ended")
        if "pid" not in answer[0]:
            raise LaunchFailed(f"{order['name']} could not be forked: {answer[0].get('error')}")
        return int(answer[0]["pid"])

    def zygote_pid(self) -> int | None:
        """The pid of the zygote, or None; it must not be reaped as a stray child."""
        return None if self._zygote is None else self._zygote.pid

    def ensure_zygote(self) -> None:
        """Start a zygote if none runs, and do not wait for it. Raises `OSError` if that fails."""
        if self._zygote is not None and self._zygote.poll() is not None:
            self.end_zygote()
        if self._zygote is None:
            self._spawn_zygote()

    def is_ready(self) -> bool:
        """Whether the zygote accepts requests. Starts one if none runs; never waits. Raises `OSError`."""
        self.ensure_zygote()
        assert self._socket is not None
        if self._is_ready:
            return True
        if not select.select([self._socket], [], [], 0)[0]:
            if time.monotonic() - self._spawned_at > ZYGOTE_START_TIMEOUT_S:
                self.end_zygote()
            return False
        self._is_ready = zygote.receive(self._socket) is not None
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
        ours.settimeout(FORK_TIMEOUT_S)
        self._socket = ours
        self._is_ready = False
        self._spawned_at = time.monotonic()

    def end_zygote(self) -> None:
        """Kill the zygote. The actors that it has forked continue as the supervisor's children."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._zygote is not None:
            with contextlib.suppress(ProcessLookupError):
                self._zygote.kill()
            self._zygote.wait()
            self._zygote = None


def become_subreaper() -> None:
    """Linux: become the parent of orphaned descendants, so that we can wait for them."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans(known: set[int]) -> None:
    """Reap adopted orphans, such as commands of a killed agent, but none of the `known` children."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in known:
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(found.si_pid, os.WNOHANG)
