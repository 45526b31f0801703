"""`up` and `down`: the crew's supervisor, started into the background or watched, and ended in order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from store.errors import NightcrewError
from supervisor.cli import output
from supervisor.cli.options import Options, pass_options, shared
from supervisor.errors import AlreadyRunning, LaunchFailed, NotReady

if TYPE_CHECKING:
    from actors.home import Home

READY_PATIENCE_S = 60.0
END_PATIENCE_S = 90.0
POLL_S = 0.02
TAIL_LINES = 15
UNSAFE = {"NIGHTCREW_SANDBOX_MODE": "off"}


class StartFailed(NightcrewError):
    """The supervisor ended before it was ready; the message is what it said."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@click.command("up", short_help="Start the crew, or bring it back after a crash or a reboot.")
@click.option("--foreground", is_flag=True, help="Stay here and log to stderr: for a service manager.")
@click.option(
    "--unsafe", is_flag=True, help="Run agents' commands without any sandbox, with all your rights."
)
@click.option("--detached", is_flag=True, hidden=True, help="With --foreground: log to the log file alone.")
@shared
@pass_options
def up_command(options: Options, foreground: bool, unsafe: bool, detached: bool) -> None:
    """Start the crew's supervisor; every project goes on where it was.

    A supervisor that runs already is an error (exit status 75, with who it is).

    \b
    nightcrew up                      into the background
    nightcrew up --foreground         under systemd, launchd or a terminal
    """
    if foreground:
        serve(options, unsafe=unsafe, stderr=not detached)
        return
    refuse_second(options.home)
    found = start(options, unsafe=unsafe)
    if options.as_json:
        output.print_json({"supervisor": found})
    else:
        click.echo(f"the crew is up: supervisor {found['pid']}, home {options.home.path}")


@click.command("down", short_help="Stop the crew; it goes on where it was at the next `up`.")
@shared
@pass_options
def down_command(options: Options) -> None:
    """Stop every agent, the supervisor and the tmux server, in order. Nothing is lost.

    Without a running crew it says so and is content.
    """
    from actors.screen.attach import kill_server
    from actors.screen.errors import TmuxMissing
    from supervisor.health import status

    home = options.home
    found = status.holder(home)
    if found is not None:
        if not options.as_json:
            output.note(f"stopping the crew (supervisor {found.pid})")
        end(home, found.pid)
    if home.run.is_dir():
        with contextlib.suppress(TmuxMissing):
            kill_server(home.run)
    if options.as_json:
        output.print_json({"stopped": found is not None, "pid": found.pid if found else None})
    elif found is not None:
        click.echo("the crew is down; `nightcrew up` resumes all of it")
    else:
        click.echo(f"no supervisor runs for {home.path}; nothing to stop")


def serve(options: Options, *, unsafe: bool, stderr: bool) -> None:
    """Be the supervisor."""
    from supervisor import config, run

    environment = options.environment | (UNSAFE if unsafe else {})
    loaded = config.load(environment)
    for warning in loaded.warnings:
        output.note(f"warning: {warning}")
    run.serve(options.home, loaded.config, stderr=stderr)


def refuse_second(home: Home) -> None:
    """Raise `AlreadyRunning` if a supervisor holds the home."""
    from supervisor.health import status

    found = status.holder(home)
    if found is not None:
        raise AlreadyRunning(
            f"a supervisor already runs for {home.path}: process {found.pid}; `nightcrew status` shows it, "
            "`nightcrew down` ends it"
        )


def ensure(options: Options, *, unsafe: bool) -> bool:
    """A running supervisor, started if need be; True if it was started. Raises if `unsafe` cannot be had."""
    from supervisor.health import status

    found = status.holder(options.home)
    if found is None:
        start(options, unsafe=unsafe)
        return True
    _await_ready(options.home, None)
    if unsafe and not _is_unsafe(options):
        raise NotReady(
            "the crew runs with its sandbox on, and --unsafe cannot change that while it runs; "
            "`nightcrew down` first"
        )
    return False


def _is_unsafe(options: Options) -> bool:
    from store import facts

    with options.store() as store:
        fact = facts.get(store, "sandbox")
    return isinstance(fact, dict) and fact.get("mode") == "unsafe"


def start(options: Options, *, unsafe: bool) -> dict[str, Any]:
    """Start the supervisor into the background and wait until it is ready. Raises `StartFailed`."""
    from supervisor.health import status

    home = options.home
    options.load_config()  # a bad configuration is said here, before there is a process to say it
    home.make()
    log = home.logs / "supervisor.stderr"
    with log.open("ab") as stderr:
        log.chmod(0o600)
        said_before = stderr.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.cli", "up", "--foreground", "--detached"],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env=_environment(options) | (UNSAFE if unsafe else {}),
            cwd=Path(__file__).resolve().parents[3],  # where `-m` finds us, also in a checkout
            start_new_session=True,
        )
    try:
        _await_ready(home, process)
    except LaunchFailed:
        _explain(process, log, said_before)
        raise
    found = status.holder(home)
    assert found is not None
    # The supervisor outlives this command on purpose: without this its Popen object would warn of it.
    process.returncode = 0
    return status.of_supervisor(found)


def _environment(options: Options) -> dict[str, str]:
    """Ours, with whole paths: the supervisor starts in another folder."""
    environment = options.environment | {"NIGHTCREW_HOME": str(options.home.path)}
    if chosen := environment.get("NIGHTCREW_CONFIG"):
        environment["NIGHTCREW_CONFIG"] = str(Path(chosen).expanduser().absolute())
    return environment


def _await_ready(home: Home, process: subprocess.Popen[bytes] | None) -> None:
    """Until a supervisor of the home is ready. Raises `LaunchFailed` if it ends before, or time runs out.

    While our own child starts, its file alone is read: to try the lock could keep the child from taking it.
    """
    from supervisor.health import status

    deadline = time.monotonic() + READY_PATIENCE_S
    while time.monotonic() < deadline:
        if process is not None and process.poll() is None:
            said = status.last_said(home)
            if said is not None and said.ready and said.pid == process.pid:
                return
        else:
            # Ours has ended, maybe because another `up` was first: then that one is waited for.
            found = status.holder(home)
            if found is None:
                code = "" if process is None else f" with exit status {process.returncode}"
                raise LaunchFailed(f"the supervisor ended{code} before it was ready; see `nightcrew log`")
            if found.ready:
                return
        time.sleep(POLL_S)
    raise LaunchFailed(
        f"the supervisor was not ready within {READY_PATIENCE_S:.0f} s; see {home.logs / 'supervisor.stderr'}"
    )


def _explain(process: subprocess.Popen[bytes], log: Path, said_before: int) -> None:
    """Raise `StartFailed` with what the child said, if it has ended and said anything."""
    if process.poll() is None:
        return
    with log.open("rb") as file:
        file.seek(said_before)
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    code = process.returncode if process.returncode > 0 else 1
    if errors:
        at = lines.index(errors[-1])
        raise StartFailed("\n".join([errors[-1].removeprefix("error: "), *lines[at + 1 :]]), code)
    said = "\n".join(lines[-TAIL_LINES:]) or "it said nothing"
    raise StartFailed(
        f"the supervisor could not start (exit status {process.returncode}); {log} ends:\n{said}", code
    )


def end(home: Home, pid: int) -> None:
    """Ask the supervisor to end and wait until its process has. Raises `NightcrewError` if it does not."""
    from supervisor.health import status

    deadline = time.monotonic() + END_PATIENCE_S
    asked = False
    # A zombie (its parent is not us) has ended.
    while ((found := status.holder(home)) is not None and found.pid in (0, pid)) or (
        pid and status.process_state(pid) not in (None, "Z", "X")
    ):
        if not asked and (pid := pid or (found.pid if found else 0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
                os.kill(pid, signal.SIGCONT)  # one that is stopped would never hear of it
            asked = True
        if time.monotonic() > deadline:
            raise NightcrewError(
                f"supervisor {pid} has not ended within {END_PATIENCE_S:.0f} s; "
                f"see {home.logs / 'supervisor.log'}. "
                f"`kill -9 {pid}` loses nothing: its children end by themselves, `nightcrew up` resumes"
            )
        time.sleep(POLL_S)
