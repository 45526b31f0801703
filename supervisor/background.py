"""Starts the supervisor as a background process, waits until it is ready, and stops it.

Used by commands. The supervisor itself is `run.serve`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from actors.home import Home
from store.errors import NightcrewError
from supervisor.errors import LaunchFailed, StartFailed
from supervisor.health import status
from supervisor.health.status import Holder

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 90.0
POLL_S = 0.02
TAIL_LINES = 15


def start(home: Home, environment: Mapping[str, str]) -> Holder:
    """Start the supervisor with `environment` and wait until it is ready. Raises `LaunchFailed`."""
    home.make()
    log = home.logs / "supervisor.stderr"
    with log.open("ab") as stderr:
        log.chmod(0o600)
        log_size = stderr.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.cli", "up", "--foreground", "--detached"],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env=environment,
            cwd=Path(__file__).resolve().parents[1],  # `-m` finds this package there, also in a checkout
            start_new_session=True,
        )
    try:
        await_ready(home, process)
    except LaunchFailed:
        _raise_reported_error(process, log, log_size)
        raise
    found = status.holder(home)
    assert found is not None
    # The supervisor outlives this command. Without this its Popen object would warn about that.
    process.returncode = 0
    return found


def await_ready(home: Home, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until the supervisor of `home` is ready. Raises `LaunchFailed` if it ends first or takes too long.

    While `process`, our own child, is starting, only the lock file is read: testing the lock could keep the
    child from taking it.
    """
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if process is not None and process.poll() is None:
            written = status.last_holder(home)
            if written is not None and written.ready and written.pid == process.pid:
                return
        else:
            # If ours has ended because another `up` was first, wait for that one.
            found = status.holder(home)
            if found is None:
                code = "" if process is None else f" with exit code {process.returncode}"
                raise LaunchFailed(f"the supervisor ended{code} before it was ready; see `nightcrew log`")
            if found.ready:
                return
        time.sleep(POLL_S)
    raise LaunchFailed(
        f"the supervisor was not ready within {READY_TIMEOUT_S:.0f} s; see {home.logs / 'supervisor.stderr'}"
    )


def _raise_reported_error(process: subprocess.Popen[bytes], log: Path, log_size: int) -> None:
    """Raise `StartFailed` with the error that the child printed. `log_size`: size of the log before its start."""
    if process.poll() is None:
        return
    with log.open("rb") as file:
        file.seek(log_size)
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    code = process.returncode if process.returncode > 0 else 1
    if errors:
        at = lines.index(errors[-1])
        raise StartFailed("\n".join([errors[-1].removeprefix("error: "), *lines[at + 1 :]]), code)
    tail = "\n".join(lines[-TAIL_LINES:]) or "it printed nothing"
    raise StartFailed(
        f"the supervisor could not start (exit code {process.returncode}); the end of {log}:\n{tail}", code
    )


def stop(home: Home, pid: int) -> None:
    """Send SIGTERM to the supervisor and wait until it has ended. Raises `NightcrewError` on a timeout.

    `pid` may be 0 for a supervisor that has not written its pid yet.
    """
    deadline = time.monotonic() + STOP_TIMEOUT_S
    asked = False
    while _is_running(home, pid):
        found = status.holder(home)
        if not asked and (pid := pid or (found.pid if found else 0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
                os.kill(pid, signal.SIGCONT)  # a stopped process gets SIGTERM only when it continues
            asked = True
        if time.monotonic() > deadline:
            raise NightcrewError(
                f"supervisor {pid} has not ended within {STOP_TIMEOUT_S:.0f} s; "
                f"see {home.logs / 'supervisor.log'}. It is safe to run `kill -9 {pid}`: "
                "its children end by themselves, and `nightcrew up` resumes"
            )
        time.sleep(POLL_S)


def _is_running(home: Home, pid: int) -> bool:
    """Whether the supervisor holds its lock or its process exists. A zombie has ended: it is not our child."""
    found = status.holder(home)
    if found is not None and found.pid in (0, pid):
        return True
    return bool(pid) and status.process_state(pid) not in (None, "Z", "X")
