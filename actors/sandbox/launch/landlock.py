"""Start a command under Landlock, through the launcher script `confine.py`."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path

from actors.sandbox.backends import landlock
from actors.sandbox.errors import SandboxFailed
from actors.sandbox.launch import cgroup, confine
from actors.sandbox.launch.marks import MARK_VARIABLE
from actors.sandbox.launch.pipes import filled_memory_file, make_pipe, pending_text, readable
from actors.sandbox.launch.process import NICENESS, OOM_SCORE, SETUP_TIMEOUT_S, last_message, start_limited
from actors.sandbox.launch.running import RunningCommand
from actors.sandbox.policy import Sandbox, View
from actors.sandbox.record import append_status
from actors.sandbox.usage import UsageMeter


def launch_landlock(
    sandbox: Sandbox, words: list[str], view: View, status_fd: int | None, mark: str
) -> RunningCommand:
    """Start `words` under Landlock; the launcher appends the exit code to `status_fd`. Raises SandboxFailed."""
    # Closed: `setup` on return, `inherited` when the launcher has started, `kept` only on failure.
    with ExitStack() as setup, ExitStack() as inherited, ExitStack() as kept:
        output_read, output_write = make_pipe(kept, inherited)
        info_read, info_write = make_pipe(setup, inherited)
        start_read, lifeline_fd = make_pipe(inherited, kept)
        scratch = landlock.make_scratch()
        kept.callback(landlock.remove_scratch, scratch)
        descriptors = {"info_fd": info_write, "start_fd": start_read, "status_fd": status_fd}
        document = _instructions(sandbox, words, view, scratch, mark, descriptors)
        document_fd = filled_memory_file(document, inherited)
        pass_fds = [number for number in (*descriptors.values(), document_fd) if number is not None]
        command = [str(sandbox.launcher), "-I", "-S", _script(), str(document_fd)]
        environment = {"PATH": "/usr/bin:/bin", MARK_VARIABLE: mark}
        process, group = start_limited(sandbox, command, output_write, pass_fds, environment, kept)
        inherited.close()
        if group is not None:
            cgroup.join(group, process.pid)
        _await_ready(info_read, output_read)
        if status_fd is not None:
            append_status(status_fd, {"started": time.time()})
        try:
            os.write(lifeline_fd, b"g")
        except BrokenPipeError as error:
            # The launcher and its child were killed after they were ready. The command has not started.
            raise SandboxFailed(
                f"Landlock's launcher ended before the command: {last_message(process, output_read)}"
            ) from error
        kept.pop_all()
    meter = UsageMeter(process.pid, namespaced=False)
    return RunningCommand(
        process, output_read, process.pid, None, meter, mark, None, group, lifeline_fd, scratch
    )


def _instructions(
    sandbox: Sandbox,
    words: list[str],
    view: View,
    scratch: Path,
    mark: str,
    descriptors: dict[str, int | None],
) -> bytes:
    settings = {**descriptors, "niceness": NICENESS, "oom_score": OOM_SCORE}
    try:
        return landlock.instructions(sandbox, words, view, scratch, (MARK_VARIABLE, mark), settings)
    except (OSError, ValueError) as error:
        raise SandboxFailed(f"The sandbox could not be set up: {error}") from error


def _script() -> str:
    """The launcher's compiled file if our import created one; Python compiles a plain script at every start."""
    compiled = confine.__spec__.cached if confine.__spec__ is not None else None
    return compiled if compiled is not None and Path(compiled).exists() else confine.__file__


def _await_ready(info_fd: int, output_fd: int) -> None:
    ready = readable([info_fd], SETUP_TIMEOUT_S)
    answer = os.read(info_fd, 4096) if ready else b"it did not answer in time"
    if answer != b"ready":
        message = answer.decode("utf-8", "replace").strip() or pending_text(output_fd) or "no message"
        raise SandboxFailed(f"Landlock could not set up the sandbox: {message}")
