"""Keeping the machine awake while the crew works, by a child that holds the system's own lock.

The child reads its standard input until it ends: when the supervisor dies, however, so does the lock.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field

WHY = "a crew of agents works"
PROOF_S = 1.0  # one that was refused has ended by then
AGAIN_AFTER_S = 600.0  # a machine without a session bus has none a minute later either


@dataclass(frozen=True, slots=True)
class Inhibition:
    """What `status` says of it."""

    sleep_inhibited: bool
    reason: str

    def as_json(self) -> dict[str, object]:
        return {"sleep_inhibited": self.sleep_inhibited, "sleep_reason": self.reason}


@dataclass(slots=True)
class Inhibitor:
    """Used by the supervisor's thread; `tick` never waits."""

    enabled: bool = True
    _process: subprocess.Popen[bytes] | None = field(default=None)
    _failure: str | None = field(default=None)
    _again_at: float = 0.0
    _since: float = 0.0

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def tick(self, *, wanted: bool, now: float) -> Inhibition:
        """Hold the lock if it is `wanted`, let go of it if not; `now` in monotonic seconds."""
        self._bury(now)
        if not self.enabled:
            return Inhibition(False, "switched off: inhibit_sleep in [supervisor]")
        if not wanted:
            self.release()
            return Inhibition(False, "no project is active")
        if self._process is None and now >= self._again_at:
            self._hold(now)
        if self._process is None or now - self._since < PROOF_S:
            return Inhibition(False, self._failure or "the system is being asked")
        self._failure = None
        return Inhibition(True, WHY)

    def release(self) -> None:
        """Let the machine sleep; a second release is harmless."""
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

    def _hold(self, now: float) -> None:
        argv = inhibit_argv()
        if argv is None:
            self._fail(f"there is no {_tool()} here", now)
            return
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
        except OSError as error:
            self._fail(f"{argv[0]}: {error.strerror}", now)
        self._since = now

    def _bury(self, now: float) -> None:
        if self._process is None or self._process.poll() is None:
            return
        assert self._process.stderr is not None
        said = self._process.stderr.read(500).decode("utf-8", "replace").strip().splitlines()
        self._fail(f"{_tool()}: {said[-1] if said else 'it ended'}", now)
        self.release()

    def _fail(self, reason: str, now: float) -> None:
        self._failure = reason
        self._again_at = now + AGAIN_AFTER_S


def inhibit_argv() -> list[str] | None:
    """The command that keeps this machine awake while its standard input is open; None if there is none."""
    path = shutil.which(_tool())
    if path is None:
        return None
    if sys.platform == "darwin":
        return [path, "-i", "cat"]
    return [path, "--what=idle:sleep", "--who=nightcrew", f"--why={WHY}", "--mode=block", "cat"]


def _tool() -> str:
    return "caffeinate" if sys.platform == "darwin" else "systemd-inhibit"
