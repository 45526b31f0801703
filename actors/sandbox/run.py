"""Runs one command within limits on time, memory, processes and output, until all its processes have ended."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from actors.sandbox.errors import SandboxFailed
from actors.sandbox.launch import launch
from actors.sandbox.launch.running import RunningCommand
from actors.sandbox.output import OutputCapture
from actors.sandbox.policy import Sandbox, View
from actors.sandbox.record import ExitRecord, RecordFiles
from actors.sandbox.watch import CommandWatch, KilledFor
from store.failpoints import failpoint


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended.

    `exit_code` is None if, and only if, we killed it; `killed_for` is the reason. `output` is plain text, its
    head and tail. `spill_path` is the file with the whole output, up to the policy's limit, if one was
    requested.
    """

    exit_code: int | None
    output: str
    total_bytes: int
    duration_s: float
    killed_for: KilledFor | None = None
    spill_path: Path | None = None

    @property
    def ok(self) -> bool:
        """Whether the command exited with 0."""
        return self.exit_code == 0

    @property
    def signal(self) -> int | None:
        """The signal that ended the command, unless we sent it."""
        return ExitRecord(self.exit_code, None, None, None).signal

    @property
    def timed_out(self) -> bool:
        """Whether we killed it because it reached its time limit."""
        return self.killed_for == "timeout"

    @property
    def cancelled(self) -> bool:
        """Whether we killed it because the caller cancelled it."""
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
    """Run a shell command line, or a list of arguments without a shell, in `worktree`. Raises SandboxFailed.

    Blocks the calling thread until all processes of the command have ended. The thread must stay alive until
    then: when it exits, the kernel kills the command (PR_SET_PDEATHSIG).

    - `cancelled`: set it to kill the command, which takes at most 200 ms.
    - `on_output` receives the output live, from this thread.
    - `spill_dir` stores the whole output and the exit record under `call_id`. The command can read, but not
      write, this folder.
    - `shown_chars` limits the result's `output`. `read_only` are further paths that the command may read.
    """
    words = [sandbox.shell, "-c", command] if isinstance(command, str) else list(command)
    if any("\0" in word for word in words):
        raise SandboxFailed("The command contains a NUL character, which no program can receive.")
    files = None
    if spill_dir is not None:
        spill_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        files, read_only = RecordFiles.of(spill_dir, call_id or uuid.uuid4().hex), (*read_only, spill_dir)
    with OutputCapture(
        files.output if files is not None else None,
        shown_chars=shown_chars,
        spill_bytes=sandbox.policy.max_spill_bytes,
        on_output=on_output,
    ) as capture:
        return _run(sandbox, words, View(worktree, writable, read_only), files, capture, timeout_s, cancelled)


def _run(
    sandbox: Sandbox,
    words: list[str],
    view: View,
    files: RecordFiles | None,
    capture: OutputCapture,
    timeout_s: float,
    cancelled: threading.Event | None,
) -> CommandResult:
    started = time.monotonic()
    mark = str(files.status) if files is not None else uuid.uuid4().hex
    with ExitStack() as stack:
        status_fd = _open_status(files, stack)
        running = launch(sandbox, words, view, status_fd, mark)
        failpoint("tool_started")
        stack.callback(running.close)
        watch = CommandWatch(running, sandbox.policy, capture, started + timeout_s, cancelled, status_fd)
        code, killed_for = _wait_for_end(running, watch, capture)
    result = _result(code, killed_for, capture, time.monotonic() - started, files)
    failpoint("command_over")
    if files is not None:
        files.write_final(ExitRecord(result.exit_code, killed_for, result.duration_s, result.total_bytes))
    return result


def _open_status(files: RecordFiles | None, stack: ExitStack) -> int | None:
    if files is None:
        return None
    status_fd = files.open_status()
    stack.callback(os.close, status_fd)
    return status_fd


def _wait_for_end(
    running: RunningCommand, watch: CommandWatch, capture: OutputCapture
) -> tuple[int, KilledFor | None]:
    """The launcher's exit code, and why we killed the command if we did.

    All of the command has ended when this returns or raises.
    """
    try:
        killed_for = watch.until_end()
        code = running.finish()
    except BaseException:
        running.kill()
        running.finish()
        raise
    if killed_for is None and running.never_started():
        message = capture.text().strip() or f"no message, exit code {code}"
        raise SandboxFailed(f"bubblewrap could not set up the sandbox: {message}")
    return code, killed_for


def _result(
    code: int,
    killed_for: KilledFor | None,
    capture: OutputCapture,
    duration_s: float,
    files: RecordFiles | None,
) -> CommandResult:
    # A program killed by signal 9 has exit code -9 for subprocess, 137 for a shell.
    exit_code = 128 - code if code < 0 else code
    return CommandResult(
        exit_code if killed_for is None else None,
        capture.text(),
        capture.total_bytes,
        duration_s,
        killed_for,
        files.output if files is not None else None,
    )
