"""Starts a command with bubblewrap; the command waits until its limits are set."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from actors.sandbox.backends.bubblewrap import view_arguments
from actors.sandbox.backends.seccomp import socket_filter
from actors.sandbox.errors import SandboxFailed
from actors.sandbox.launch import cgroup
from actors.sandbox.launch.pipes import filled_pipe, make_pipe, pending_text, readable
from actors.sandbox.launch.process import (
    NICENESS,
    OOM_SCORE,
    SETUP_TIMEOUT_S,
    last_message,
    start_limited,
    task_limit,
)
from actors.sandbox.launch.running import RunningCommand
from actors.sandbox.policy import Sandbox, View
from actors.sandbox.record import append_status
from actors.sandbox.usage import UsageMeter
from store.failpoints import failpoint


def launch_bubblewrap(
    sandbox: Sandbox, words: list[str], view: View, status_fd: int | None
) -> RunningCommand:
    """Start `words` in the sandbox; bubblewrap itself appends the exit code to `status_fd`."""
    # Closed: `setup` on return, `inherited` when bubblewrap has started, `kept` only on failure.
    with ExitStack() as setup, ExitStack() as inherited, ExitStack() as kept:
        output_read, output_write = make_pipe(kept, inherited)
        info_read, info_write = make_pipe(setup, inherited)
        start_read, start_write = make_pipe(kept, setup)
        descriptors = {"--info-fd": info_write, "--block-fd": start_read}
        if status_fd is not None:
            descriptors["--json-status-fd"] = status_fd
        descriptors |= _seccomp_option(sandbox, inherited)
        command = _command(sandbox, words, view, descriptors)
        environment, pass_fds = dict(sandbox.environment), list(descriptors.values())
        if status_fd is not None:
            # bubblewrap takes the end of the pipe for the start byte too. If we are killed from here on, the
            # command may run for the moment until bubblewrap is killed with us.
            append_status(status_fd, {"launching": time.time()})
        process, group = start_limited(sandbox, command, output_write, pass_fds, environment, kept)
        # While we hold the write ends too, we would never see the end of the output or of a failed set-up.
        inherited.close()
        pid = _first_pid(info_read, output_read)
        pidfd = _open_limited(pid, sandbox, process, output_read)
        kept.callback(os.close, pidfd)
        if group is not None:
            cgroup.join(group, pid)
        failpoint("command_held")
        if status_fd is not None:
            append_status(status_fd, {"started": time.time()})
        os.write(start_write, b"g")
        # Everything worked: the caller now owns what `kept` would have cleaned up.
        kept.pop_all()
    meter = UsageMeter(pid, namespaced=True)
    return RunningCommand(process, output_read, pid, pidfd, meter, start_fd=start_read, group=group)


def _command(sandbox: Sandbox, words: list[str], view: View, descriptors: dict[str, int]) -> list[str]:
    options = [word for name, number in descriptors.items() for word in (name, str(number))]
    return [str(sandbox.launcher), *sandbox.arguments, *view_arguments(sandbox, view), *options, *words]


def _seccomp_option(sandbox: Sandbox, inherited: ExitStack) -> dict[str, int]:
    policy = sandbox.policy
    program = socket_filter(unix_sockets=policy.unix_sockets and not policy.network)
    return {} if program is None else {"--seccomp": filled_pipe(program, inherited)}


def _first_pid(info_fd: int, output_fd: int) -> int:
    """The process id, outside the namespace, of the sandbox's first process. It waits for the start byte."""
    text, deadline = b"", time.monotonic() + SETUP_TIMEOUT_S
    while (left := deadline - time.monotonic()) > 0 and readable([info_fd], left):
        chunk = os.read(info_fd, 4096)
        text += chunk
        if not chunk:
            break
    try:
        return int(json.loads(text)["child-pid"])
    except (ValueError, KeyError, TypeError):
        message = pending_text(output_fd) or "no message"
        raise SandboxFailed(f"bubblewrap could not set up the sandbox: {message}") from None


def _open_limited(pid: int, sandbox: Sandbox, process: subprocess.Popen[bytes], output_fd: int) -> int:
    """Set the limits of the sandbox's first process; returns its pidfd. Raises SandboxFailed."""
    with ExitStack() as stack:
        try:
            pidfd = os.pidfd_open(pid)
            stack.callback(os.close, pidfd)
            _set_limits(pid, sandbox)
        except ProcessLookupError as error:
            # The first process still sets up the sandbox meanwhile. If that failed, bubblewrap has the reason.
            raise SandboxFailed(
                f"bubblewrap could not set up the sandbox: {last_message(process, output_fd)}"
            ) from error
        except PermissionError as error:
            raise SandboxFailed(
                f"The limits of the sandbox's first process {pid} could not be set: {error}"
            ) from error
        stack.pop_all()
    return pidfd


def _set_limits(pid: int, sandbox: Sandbox) -> None:
    """Limits that the command and all it starts inherit. Raises ProcessLookupError, PermissionError."""
    # RLIMIT_NPROC does not bind root, hence the control group, and `CommandWatch` where there is none.
    _lower_limit(pid, resource.RLIMIT_NPROC, task_limit(sandbox))
    _lower_limit(pid, resource.RLIMIT_FSIZE, sandbox.policy.max_file_bytes)
    _lower_limit(pid, resource.RLIMIT_CORE, 0)
    os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE))


def _lower_limit(pid: int, kind: int, limit: int) -> None:
    _, hard = resource.prlimit(pid, kind)
    value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.prlimit(pid, kind, (value, value))
