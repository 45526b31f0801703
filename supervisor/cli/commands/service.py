"""`service`: run the crew as a service of the user, so that it starts again after a reboot."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from store.errors import NightcrewError
from supervisor.cli import output
from supervisor.cli.options import Options, pass_options, shared

if TYPE_CHECKING:
    from supervisor.service import Service

LINGER = ["loginctl", "enable-linger"]


class ServiceNotEnabled(NightcrewError):
    """The file is written, but the service manager refused it. The message has the commands to run by hand."""


@click.group("service", short_help="Start the crew after a reboot: install, uninstall, status.")
@shared
def service_command() -> None:
    """Run the crew as a user service: a systemd user unit, or a launchd agent on macOS.

    \b
    nightcrew service install
    nightcrew service status
    """


@service_command.command("install", short_help="Install and enable the service.")
@shared
@pass_options
def install_command(options: Options) -> None:
    """Write the service's file, enable the service, and start it unless the crew is running.

    Run it again after moving the checkout or changing NIGHTCREW_* variables.
    """
    from supervisor import service
    from supervisor.health import status

    found = _service(options)
    options.load_config()  # an invalid configuration is reported now, not at the next reboot
    runs = status.holder(options.home) is not None
    wrote = found.write()
    commands = found.enable_commands(start=not runs)
    skip = not wrote and service.is_enabled(found) and (runs or service.is_active(found))
    problem = None if skip else service.run_all(commands)
    result = _state(found) | {"wrote": wrote, "problem": problem}
    if problem is not None:
        result["commands"] = [shlex.join(words) for words in commands] + result["commands"]
    if options.as_json:
        output.print_json(result)
    else:
        click.echo(f"{'wrote' if wrote else 'unchanged:'} {found.path}")
        if runs and problem is None and not result["active"]:
            click.echo("the crew is already running; the service starts it after the next `down` or reboot")
    _finish(options, result, problem)


def _finish(options: Options, result: dict[str, Any], problem: str | None) -> None:
    """Print what is left to do by hand. Exits with 1 if the service is not enabled."""
    lines = "\n".join(f"  {line}" for line in result["commands"])
    if problem is not None:
        if options.as_json:
            raise click.exceptions.Exit(1)
        raise ServiceNotEnabled(f"the service is not enabled: {problem}\nto enable it by hand:\n{lines}")
    if not options.as_json:
        click.echo(f"enabled: {result['name']}")
        if lines:
            output.note(f"to run it without a login too:\n{lines}")


@service_command.command("uninstall", short_help="Disable and remove the service.")
@shared
@pass_options
def uninstall_command(options: Options) -> None:
    """Disable the service and remove its file. A running crew goes on until `nightcrew down`."""
    from supervisor import service

    found = _service(options)
    was_there = found.is_installed
    problem = service.run_all(found.disable_commands()) if was_there else None
    found.remove()
    if was_there and found.system == "systemd" and problem is None:
        problem = service.run_all([["systemctl", "--user", "daemon-reload"]])
    if options.as_json:
        output.print_json(
            {"name": found.name, "path": str(found.path), "removed": was_there, "problem": problem}
        )
        return
    click.echo(f"removed {found.path}" if was_there else f"no service is installed at {found.path}")
    if problem is not None:
        output.note(f"the service manager was not updated: {problem}")


@service_command.command("status", short_help="Show whether the service is installed, enabled and active.")
@shared
@pass_options
def status_command(options: Options) -> None:
    """Show whether the service is installed, enabled and active. `unknown` where the system cannot say."""
    found = _service(options)
    result = _state(found)
    if options.as_json:
        output.print_json(result)
        return
    for key in ("name", "path", "installed", "current", "enabled", "active", "lingers"):
        value = {True: "yes", False: "no", None: "unknown"}.get(result[key], result[key])
        click.echo(f"{key:11} {value}")
    click.echo(f"{'supervisor':11} {result['supervisor'] or 'not running'}")
    for line in result["commands"]:
        output.note(f"to do: {line}")


def _service(options: Options) -> Service:
    from supervisor import config, service

    environment = options.environment
    usual = config.home_path({key: value for key, value in environment.items() if key != "NIGHTCREW_HOME"})
    root = Path(__file__).resolve().parents[3]
    return service.service_of(options.home, usual, environment, root)


def _state(found: Service) -> dict[str, Any]:
    """The service's state, and the commands that are still to be run."""
    from supervisor import service

    is_linux = found.system == "systemd"
    lingers = service.lingers() if is_linux else True
    enabled = service.is_enabled(found) if found.is_installed else False
    commands = []
    if found.is_installed and not found.is_current:
        commands.append("nightcrew service install")
    if found.is_installed and is_linux and lingers is not True:
        commands.append(shlex.join(LINGER))
    return {
        "name": found.name,
        "path": str(found.path),
        "installed": found.is_installed,
        "current": found.is_current,
        "enabled": enabled,
        "active": service.is_active(found) if found.is_installed else False,
        "lingers": lingers,
        "supervisor": _supervisor(),
        "commands": commands,
    }


def _supervisor() -> int | None:
    from supervisor.cli import options
    from supervisor.health import status

    running = status.holder(options.of(click.get_current_context()).home)
    return None if running is None else running.pid
