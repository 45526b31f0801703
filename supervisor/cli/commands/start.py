"""`up` and `down`: start the crew's supervisor in the background or the foreground, and stop it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli import output
from supervisor.cli.options import Options, pass_options, shared
from supervisor.errors import AlreadyRunning, NotReady

if TYPE_CHECKING:
    from actors.home import Home
    from supervisor.health.status import Holder

UNSAFE = {"NIGHTCREW_SANDBOX_MODE": "off"}
UNSAFE_HELP = "Run agents' commands without a sandbox, with all permissions of your user account."


@click.command("up", short_help="Start the crew, or resume it after a crash or a reboot.")
@click.option("--foreground", is_flag=True, help="Run in the foreground and log to stderr.")
@click.option("--unsafe", is_flag=True, help=UNSAFE_HELP)
@click.option("--detached", is_flag=True, hidden=True, help="With --foreground: log to the log file only.")
@shared
@pass_options
def up_command(options: Options, foreground: bool, unsafe: bool, detached: bool) -> None:
    """Start the crew's supervisor. Every project resumes where it was.

    If the crew is already running, this is an error with exit code 75.

    \b
    nightcrew up                      in the background
    nightcrew up --foreground         under systemd, launchd or in a terminal
    """
    if foreground:
        _serve(options, unsafe=unsafe, stderr=not detached)
        return
    _refuse_second(options.home)
    found = _start(options, unsafe=unsafe)
    if options.as_json:
        from supervisor.health import status

        output.print_json({"supervisor": status.of_supervisor(found)})
    else:
        click.echo(f"the crew is running: supervisor {found.pid}, home {options.home.path}")


@click.command("down", short_help="Stop the crew. The next `up` resumes it.")
@shared
@pass_options
def down_command(options: Options) -> None:
    """Stop all agents, the supervisor and the tmux server. No work is lost.

    If no crew is running, this does nothing.
    """
    from actors.screen.attach import kill_server
    from actors.screen.errors import TmuxMissing
    from supervisor import background
    from supervisor.health import status

    home = options.home
    found = status.holder(home)
    if found is not None:
        if not options.as_json:
            output.note(f"stopping the crew (supervisor {found.pid})")
        background.stop(home, found.pid)
    if home.run.is_dir():
        with contextlib.suppress(TmuxMissing):
            kill_server(home.run)
    if options.as_json:
        output.print_json({"stopped": found is not None, "pid": found.pid if found else None})
    elif found is not None:
        click.echo("the crew is stopped; `nightcrew up` resumes it")
    else:
        click.echo(f"nothing to stop: no crew is running in {home.path}")


def ensure(options: Options, *, unsafe: bool) -> bool:
    """Make sure that a supervisor is running; True if it was started now.

    Raises `NotReady` if a running one uses the sandbox and `unsafe` is requested.
    """
    from supervisor import background
    from supervisor.health import status

    if status.holder(options.home) is None:
        _start(options, unsafe=unsafe)
        return True
    background.await_ready(options.home)
    if unsafe and not _is_unsafe(options):
        raise NotReady(
            "the running crew uses the sandbox, and --unsafe cannot change that; run `nightcrew down` first"
        )
    return False


def _serve(options: Options, *, unsafe: bool, stderr: bool) -> None:
    """Run the supervisor in this process."""
    from supervisor import config, run

    loaded = config.load(options.environment | (UNSAFE if unsafe else {}))
    for warning in loaded.warnings:
        output.note(f"warning: {warning}")
    run.serve(options.home, loaded.config, stderr=stderr)


def _refuse_second(home: Home) -> None:
    from supervisor.health import status

    found = status.holder(home)
    if found is not None:
        raise AlreadyRunning(
            f"a supervisor is already running for {home.path}: process {found.pid}; see `nightcrew status`, "
            "or stop it with `nightcrew down`"
        )


def _start(options: Options, *, unsafe: bool) -> Holder:
    from supervisor import background

    options.load_config()  # an invalid configuration is reported by this command, not by the background process
    environment = options.environment | {"NIGHTCREW_HOME": str(options.home.path)}
    if chosen := environment.get("NIGHTCREW_CONFIG"):
        environment["NIGHTCREW_CONFIG"] = str(Path(chosen).expanduser().absolute())
    return background.start(options.home, environment | (UNSAFE if unsafe else {}))


def _is_unsafe(options: Options) -> bool:
    from store import facts

    with options.store() as store:
        fact = facts.get(store, facts.SANDBOX)
    return isinstance(fact, dict) and fact.get("mode") == "unsafe"
