"""`doctor`: check the setup, list what is missing, and download missing models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli import output
from supervisor.cli.options import Options, pass_options, shared
from supervisor.errors import NotReady

if TYPE_CHECKING:
    from actors.settings import Config
    from supervisor.config import LoadedConfig
    from supervisor.health.doctor import Finding

_MARKS = {"ok": "ok", "warning": "!", "missing": "MISSING"}
PULL_STEP_PERCENT = 5


@click.command("doctor", short_help="Check your setup and list what is missing.")
@click.option("--pull", is_flag=True, help="Download missing models first.")
@click.option("--settings", "all_settings", is_flag=True, help="Show all settings, not only changed ones.")
@shared
@pass_options
def doctor_command(options: Options, pull: bool, all_settings: bool) -> None:
    """Check Python, git, tmux, home, store, sandbox, model hosts and models, and list what is missing.

    Also shows the settings that differ from the defaults, and where each was set. Exits with 69 if the crew
    cannot work.

    \b
    nightcrew doctor
    nightcrew doctor --pull
    """
    from supervisor.health import doctor

    loaded = options.load_config()
    if pull:
        _pull(loaded.config)
    findings = doctor.examine(options.home, loaded.config)
    if options.as_json:
        found = list(findings)
        output.print_json(_as_json(found, loaded))
    else:
        found = _print_findings(findings)
        _print_settings(loaded, everything=all_settings)
        _print_conclusion(found)
    if any(finding.state == "missing" for finding in found):
        raise click.exceptions.Exit(NotReady.exit_code)


def _as_json(found: list[Finding], loaded: LoadedConfig) -> dict[str, Any]:
    return {
        "ready": not any(finding.state == "missing" for finding in found),
        "findings": [finding.as_json() for finding in found],
        "config": {
            "file": None if loaded.file is None else str(loaded.file),
            "values": [{"key": s.key, "value": s.value, "from": s.origin} for s in loaded.sources()],
            "warnings": list(loaded.warnings),
        },
    }


def _print_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Print each finding as soon as it is known; returns them all."""
    found = []
    for finding in findings:
        found.append(finding)
        click.echo(f"{_MARKS[finding.state]:8}{finding.name:12}{output.plain(finding.detail)}")
        if finding.fix:
            click.echo(f"{'':20}-> {finding.fix}")
    return found


def _print_settings(loaded: LoadedConfig, *, everything: bool) -> None:
    sources = [source for source in loaded.sources() if everything or source.origin != "default"]
    file = f"file: {loaded.file}" if loaded.file else "no configuration file"
    if everything:
        click.echo(f"\nsettings ({file}):")
    elif sources:
        click.echo(f"\nchanged settings ({file}; all settings: `nightcrew doctor --settings`):")
    else:
        click.echo(
            f"\nall settings have their defaults ({file}); to list them: `nightcrew doctor --settings`"
        )
    for source in sources:
        click.echo(f"  {source.key} = {source.value}  ({source.origin})")
    for warning in loaded.warnings:
        click.echo(f"!       {warning}")


def _print_conclusion(found: list[Finding]) -> None:
    missing = [finding for finding in found if finding.state == "missing"]
    if not missing:
        click.echo("\nready: everything that the crew needs was found")
        return
    click.echo("\nnot ready; missing:")
    for finding in missing:
        click.echo(f"  {finding.name}: {finding.fix or output.plain(finding.detail)}")


def _pull(config: Config) -> None:
    """Download with progress on stderr. Raises a `ModelError`."""
    from supervisor.health import doctor

    shown: tuple[str, int] = ("", -1)
    for host, model, progress in doctor.pull_missing(config):
        percent = 0
        if progress.total_bytes:
            percent = int(100 * (progress.completed_bytes or 0) / progress.total_bytes)
        step = (f"{host} {model}: {progress.status}", percent // PULL_STEP_PERCENT)
        if step == shown:
            continue
        shown = step
        size = f" {percent} % of {progress.total_bytes / 1e9:.1f} GB" if progress.total_bytes else ""
        output.note(f"{step[0]}{size}")
    if not shown[0]:
        output.note("no reachable host lacks a model")
