"""Child processes of a launch: start one, end one, and read the error message of one that failed."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

from actors.sandbox.errors import SandboxFailed
from actors.sandbox.launch import cgroup
from actors.sandbox.launch.pipes import pending_text
from actors.sandbox.policy import Sandbox

# A sandbox that is not ready after this time has failed.
SETUP_TIMEOUT_S = 20.0
# Commands yield the processor to the crew, and the kernel's out-of-memory killer prefers them.
NICENESS = 5
OOM_SCORE = 500


def start_process(
    words: list[str], output_fd: int, pass_fds: list[int], environment: dict[str, str], folder: str
) -> subprocess.Popen[bytes]:
    """Start `words` in a new session, with both outputs on `output_fd`. Raises SandboxFailed."""
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output_fd,
            stderr=output_fd,
            pass_fds=pass_fds,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxFailed(f"The command could not be started in {folder}: {error}") from error


def start_limited(
    sandbox: Sandbox,
    words: list[str],
    output_fd: int,
    pass_fds: list[int],
    environment: dict[str, str],
    undo: ExitStack,
) -> tuple[subprocess.Popen[bytes], Path | None]:
    """Start a launcher, in a control group that limits its processes where one can be made.

    `undo` gets the callbacks that kill the process and remove the group.
    """
    with cgroup.process_limit(task_limit(sandbox)) as group:
        if group is not None:
            undo.callback(cgroup.remove, group)
        process = start_process(words, output_fd, pass_fds, environment, "/")
    undo.callback(_kill, process)
    return process, group


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def last_message(process: subprocess.Popen[bytes], output_fd: int) -> str:
    """The error message of a launcher that failed, or its exit code. Waits for the launcher to end."""
    # Wait first: until the launcher has ended, it may write more.
    try:
        code = process.wait(timeout=SETUP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    return pending_text(output_fd) or f"no message, exit code {code}"


def task_limit(sandbox: Sandbox) -> int:
    """The kernel's limit on a command's tasks. It counts threads, unlike the policy: hence the factor."""
    return sandbox.policy.max_processes * 4
