"""Keeps the machine awake while the crew works, by a child process that holds the system's sleep inhibitor.

The child runs until its standard input closes, so the inhibitor is released however the supervisor ends.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field

from store.facts import SleepInhibition

WHY = "a crew of agents works"
PROOF_S = 1.0  # a child that was refused has ended by then
RETRY_AFTER_S = 600.0  # a machine without a session bus rarely gets one within minutes


@dataclass(frozen=True, slots=True)
class Inhibition:
    """Whether sleep is inhibited, and the reason, for `status`."""

    sleep_inhibited: bool
    reason: str

    def as_json(self) -> SleepInhibition:
        return {"sleep_inhibited": self.sleep_inhibited, "sleep_reason": self.reason}


@dataclass(slots=True)
class Inhibitor:
    """Used by the supervisor's thread alone; `tick` never waits."""

    enabled: bool = True
    _process: subprocess.Popen[bytes] | None = field(default=None)
    _failure: str | None = field(default=None)
    _retry_at: float = 0.0
    _since: float = 0.0

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def tick(self, *, wanted: bool, now: float) -> Inhibition:
        """Take the inhibitor if it is `wanted`, else release it; returns the state. `now` in monotonic seconds."""
        self._reap(now)
        if not self.enabled:
            return Inhibition(False, "switched off (inhibit_sleep in [supervisor])")
        if not wanted:
            self.release()
            return Inhibition(False, "no project is active")
        if self._process is None and now >= self._retry_at:
            self._take(now)
        if self._process is None or now - self._since < PROOF_S:
            return Inhibition(False, self._failure or "waiting for the system's answer")
        self._failure = None
        return Inhibition(True, WHY)

    def release(self) -> None:
        """Let the machine sleep again; a second call is harmless."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        with suppress(ProcessLookupError):
            process.terminate()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()

    def _take(self, now: float) -> None:
        argv = inhibit_argv()
        if argv is None:
            self._fail(f"{_tool()} is not installed", now)
            return
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
        except OSError as error:
            self._fail(f"{argv[0]}: {error.strerror}", now)
        self._since = now

    def _reap(self, now: float) -> None:
        if self._process is None or self._process.poll() is None:
            return
        assert self._process.stderr is not None
        lines = self._process.stderr.read(500).decode("utf-8", "replace").strip().splitlines()
        self._fail(f"{_tool()}: {lines[-1] if lines else 'it ended at once'}", now)
        self.release()

    def _fail(self, reason: str, now: float) -> None:
        self._failure = reason
        self._retry_at = now + RETRY_AFTER_S


def inhibit_argv() -> list[str] | None:
    """The command that keeps this machine awake until its standard input closes; None if not installed."""
    path = shutil.which(_tool())
    if path is None:
        return None
    if sys.platform == "darwin":
        return [path, "-i", "cat"]
    return [path, "--what=idle:sleep", "--who=nightcrew", f"--why={WHY}", "--mode=block", "cat"]


def _tool() -> str:
    return "caffeinate" if sys.platform == "darwin" else "systemd-inhibit"
