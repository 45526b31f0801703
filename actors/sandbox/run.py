"""Run one command to its end, whatever it does, within limits on time, memory, processes and output."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from actors.sandbox.errors import SandboxFailed
from actors.sandbox.launch import Launched, launch, readable
from actors.sandbox.output import OutputCapture
from actors.sandbox.policy import Sandbox, SandboxPolicy, View
from actors.sandbox.record import ExitRecord, RecordFiles, note
from store.failpoints import failpoint

KilledFor = Literal["timeout", "cancelled", "memory", "processes", "output"]

_CHUNK_BYTES = 256 * 1024
# Half the 200 ms within which a cancel must act, less the time to kill.
_TICK_S = 0.05
_MEMORY_EVERY_S = 0.25
_DRAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended. `exit_code` is None exactly if we killed it, and then `killed_for` says why.

    `output` is plain text, head and tail; `spill_path` has all of it up to the policy's limit, if asked for.
    """

    exit_code: int | None
    output: str
    total_bytes: int
    duration_s: float
    killed_for: KilledFor | None = None
    spill_path: Path | None = None

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    @property
    def signal(self) -> int | None:
        """The signal it died of by itself, by the shell's convention of 128 + number."""
        return ExitRecord(self.exit_code, None, None, None).signal

    @property
    def timed_out(self) -> bool:
        return self.killed_for == "timeout"

    @property
    def cancelled(self) -> bool:
        return self.killed_for == "cancelled"


def run_command(
    sandbox: Sandbox,
    command: str | list[str],
    *,
    worktree: Path,
    writable: bool = True,
    timeout_s: float = 600.0,
    cancelled: threading.Event | None = None,
    on_output: Callable[[str], None] | None = None,
    spill_dir: Path | None = None,
    call_id: str | None = None,
    shown_chars: int = 10_000,
    read_only: tuple[Path, ...] = (),
) -> CommandResult:
    """Run a shell command line (or words, without a shell) in `worktree`; nothing of it is left on return.

    Blocks the calling thread, which must be the one that lives until the end: the command dies with it.
    `cancelled` acts within 200 ms. With `spill_dir` the output and the exit record of `call_id` are kept
    there, readable but not writable for the command. Raises SandboxFailed if it could not be started.
    """
    words = [sandbox.shell, "-c", command] if isinstance(command, str) else list(command)
    if any("\0" in word for word in words):
        raise SandboxFailed("The command contains a NUL character, which no program can be given.")
    call = call_id or uuid.uuid4().hex
    files = None
    if spill_dir is not None:
        spill_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = RecordFiles.of(spill_dir, call)
        call, read_only = str(files.status), (*read_only, spill_dir)
    view = View(worktree, writable, read_only)
    spill_path, spill_bytes = files.output if files is not None else None, sandbox.policy.max_spill_bytes
    started = time.monotonic()
    with ExitStack() as stack:
        status_fd = files.open_status() if files is not None else None
        if status_fd is not None:
            stack.callback(os.close, status_fd)
        capture = stack.enter_context(
            OutputCapture(spill_path, shown_chars=shown_chars, spill_bytes=spill_bytes, on_output=on_output)
        )
        launched = launch(sandbox, words, view, status_fd, call)
        failpoint("tool_started")
        stack.callback(launched.close)
        watch = _Watch(launched, sandbox.policy, capture, started + timeout_s, cancelled, status_fd)
        code, killed_for = _to_end(launched, watch, capture)
    result = _result(code, killed_for, capture, time.monotonic() - started, spill_path)
    failpoint("command_over")
    if files is not None:
        files.write_final(ExitRecord(result.exit_code, killed_for, result.duration_s, result.total_bytes))
    return result


def _to_end(launched: Launched, watch: _Watch, capture: OutputCapture) -> tuple[int, KilledFor | None]:
    """The launcher's exit code, and why we killed the command if we did. Whatever is raised, it has ended."""
    try:
        killed_for = watch.until_over()
        code = launched.finish()
    except BaseException:
        launched.kill()
        launched.finish()
        raise
    if killed_for is None and launched.never_began():
        said = capture.text().strip() or f"no message, exit code {code}"
        raise SandboxFailed(f"bubblewrap could not set up the sandbox: {said}")
    return code, killed_for


def _result(
    code: int,
    killed_for: KilledFor | None,
    capture: OutputCapture,
    duration_s: float,
    spill_path: Path | None,
) -> CommandResult:
    # A program killed by signal 9 has code -9 for subprocess, 137 for a shell.
    exit_code = 128 - code if code < 0 else code
    result = CommandResult(exit_code, capture.text(), capture.total_bytes, duration_s, None, spill_path)
    return result if killed_for is None else replace(result, exit_code=None, killed_for=killed_for)


class _Watch:
    """The loop over one command: its output, its end, and every reason to end it."""

    def __init__(
        self,
        launched: Launched,
        policy: SandboxPolicy,
        capture: OutputCapture,
        deadline: float,
        cancelled: threading.Event | None,
        status_fd: int | None,
    ) -> None:
        self._launched = launched
        self._policy = policy
        self._capture = capture
        self._deadline = deadline
        self._cancelled = cancelled
        self._status_fd = status_fd
        self._next_processes = time.monotonic() + _TICK_S
        self._next_memory = time.monotonic() + _MEMORY_EVERY_S

    def until_over(self) -> KilledFor | None:
        """Read until the command has ended or is killed; gives the reason if it was."""
        exit_pidfd = os.pidfd_open(self._launched.process.pid) if hasattr(os, "pidfd_open") else None
        watched = [self._launched.output_fd, *([] if exit_pidfd is None else [exit_pidfd])]
        try:
            while True:
                ready = readable(watched, _TICK_S)
                if self._launched.output_fd in ready and not self._read():
                    # It has closed its output but may live on: from here only its end matters.
                    watched.remove(self._launched.output_fd)
                over = (
                    exit_pidfd in ready
                    if exit_pidfd is not None
                    else self._launched.process.poll() is not None
                )
                if over:
                    self._drain()
                    return None
                reason = self._reason_to_kill()
                if reason is not None:
                    self._kill(reason)
                    return reason
        finally:
            if exit_pidfd is not None:
                os.close(exit_pidfd)

    def _read(self) -> bool:
        chunk = os.read(self._launched.output_fd, _CHUNK_BYTES)
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
            if self._launched.meter.has_more_than(self._policy.max_processes):
                return "processes"
        if now >= self._next_memory:
            self._next_memory = now + _MEMORY_EVERY_S
            if self._launched.meter.memory_bytes() > self._policy.memory_bytes:
                return "memory"
        return None

    def _kill(self, reason: KilledFor) -> None:
        if self._status_fd is not None:
            # Before the deed: whatever happens to us next, the record tells why there is no exit code.
            note(self._status_fd, {"killed_for": reason})
        self._launched.kill()
        self._drain()

    def _drain(self) -> None:
        """Read what is left in the pipe. Without a sandbox a daemon may hold it open, so not for ever."""
        deadline = time.monotonic() + _DRAIN_S
        while time.monotonic() < deadline:
            confined = self._launched.mark is None
            ready = readable([self._launched.output_fd], _TICK_S if confined else 0)
            if (not ready and not confined) or (ready and not self._read()):
                return
