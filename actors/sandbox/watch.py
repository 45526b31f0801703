"""Read a running command's output until it ends, and kill it when it exceeds a limit or is cancelled."""

from __future__ import annotations

import os
import threading
import time
from typing import Literal

from actors.sandbox.launch.pipes import readable
from actors.sandbox.launch.running import RunningCommand
from actors.sandbox.output import OutputCapture
from actors.sandbox.policy import SandboxPolicy
from actors.sandbox.record import append_status
from store.failpoints import failpoint

KilledFor = Literal["timeout", "cancelled", "memory", "processes", "output"]

_CHUNK_BYTES = 256 * 1024
# A cancelled command must end within 200 ms, and killing it takes part of that.
_TICK_S = 0.05
_MEMORY_EVERY_S = 0.25
_DRAIN_S = 1.0


class CommandWatch:
    """Watches one command from the thread that started it. `deadline` is in `time.monotonic()` seconds."""

    def __init__(
        self,
        running: RunningCommand,
        policy: SandboxPolicy,
        capture: OutputCapture,
        deadline: float,
        cancelled: threading.Event | None,
        status_fd: int | None,
    ) -> None:
        self._running = running
        self._policy = policy
        self._capture = capture
        self._deadline = deadline
        self._cancelled = cancelled
        self._status_fd = status_fd
        self._next_processes = time.monotonic() + _TICK_S
        self._next_memory = time.monotonic() + _MEMORY_EVERY_S

    def until_end(self) -> KilledFor | None:
        """Read until the command has ended or was killed; returns the reason if it was killed."""
        exit_pidfd = os.pidfd_open(self._running.process.pid) if hasattr(os, "pidfd_open") else None
        watched = [self._running.output_fd, *([] if exit_pidfd is None else [exit_pidfd])]
        try:
            while True:
                ready = readable(watched, _TICK_S)
                if self._running.output_fd in ready and not self._read():
                    # The command closed its output but may still be running; wait for its exit.
                    watched.remove(self._running.output_fd)
                if self._has_ended(exit_pidfd, ready):
                    self._drain()
                    return None
                reason = self._reason_to_kill()
                if reason is not None:
                    self._kill(reason)
                    return reason
        finally:
            if exit_pidfd is not None:
                os.close(exit_pidfd)

    def _has_ended(self, exit_pidfd: int | None, ready: list[int]) -> bool:
        return self._running.process.poll() is not None if exit_pidfd is None else exit_pidfd in ready

    def _read(self) -> bool:
        chunk = os.read(self._running.output_fd, _CHUNK_BYTES)
        if chunk:
            self._capture.feed(chunk)
            failpoint("tool_running")
        return bool(chunk)

    def _reason_to_kill(self) -> KilledFor | None:
        now = time.monotonic()
        if self._cancelled is not None and self._cancelled.is_set():
            return "cancelled"
        if now >= self._deadline:
            return "timeout"
        if self._capture.total_bytes > self._policy.max_output_bytes:
            return "output"
        if now >= self._next_processes:
            self._next_processes = now + _TICK_S
            if self._running.meter.has_more_than(self._policy.max_processes):
                return "processes"
        if now >= self._next_memory:
            self._next_memory = now + _MEMORY_EVERY_S
            if self._running.meter.memory_bytes() > self._policy.memory_bytes:
                return "memory"
        return None

    def _kill(self, reason: KilledFor) -> None:
        if self._status_fd is not None:
            # Record the reason before killing, so that it is known even if this process is killed in between.
            append_status(self._status_fd, {"killed_for": reason})
        self._running.kill()
        self._drain()

    def _drain(self) -> None:
        """Read the rest of the output. Bounded: without a sandbox a daemon may keep the pipe open."""
        deadline = time.monotonic() + _DRAIN_S
        while time.monotonic() < deadline:
            confined = self._running.mark is None
            ready = readable([self._running.output_fd], _TICK_S if confined else 0)
            if (not ready and not confined) or (ready and not self._read()):
                return
