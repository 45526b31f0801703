"""What shows that it works: doctor, report, rehearse, drill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from store.errors import NightcrewError
from supervisor.cli import names, output
from supervisor.cli.options import Options, pass_options, shared
from supervisor.errors import NotReady

if TYPE_CHECKING:
    from actors.settings import Config
    from supervisor.config import LoadedConfig
    from supervisor.health.doctor import Finding

_MARKS = {"ok": "ok", "warning": "!", "missing": "MISSING"}
PULL_STEP_PERCENT = 5


@click.command("doctor", short_help="Is everything there, and what mends what is not?")
@click.option("--pull", is_flag=True, help="Download the models that are missing, with progress.")
@shared
@pass_options
def doctor_command(options: Options, pull: bool) -> None:
    """Look at Python, git, tmux, home, store, sandbox, model hosts and models; show the values in force and
    where each comes from. Exit status 69 if something is missing that a crew cannot work without.

    \b
    nightcrew doctor
    nightcrew doctor --pull
    """
    from supervisor.health import doctor

    loaded = options.load_config()
    if pull:
        _pull(options, loaded.config)
    found: list[Finding] = []
    for finding in doctor.examine(options.home, loaded.config):
        found.append(finding)
        if not options.as_json:
            _print_finding(finding)
    missing = [finding.name for finding in found if finding.state == "missing"]
    if options.as_json:
        output.print_json(
            {
                "ready": not missing,
                "findings": [finding.as_json() for finding in found],
                "config": _config_as_json(loaded),
            }
        )
    else:
        _print_config(loaded)
        click.echo(
            "\neverything a crew needs is there" if not missing else f"\nmissing: {', '.join(missing)}"
        )
    if missing:
        raise click.exceptions.Exit(NotReady.exit_code)


def _print_finding(finding: Finding) -> None:
    click.echo(f"{_MARKS[finding.state]:8}{finding.name:12}{output.plain(finding.detail)}")
    if finding.fix:
        click.echo(f"{'':20}-> {finding.fix}")


def _config_as_json(loaded: LoadedConfig) -> dict[str, Any]:
    return {
        "file": None if loaded.file is None else str(loaded.file),
        "values": [{"key": s.key, "value": s.value, "from": s.origin} for s in loaded.sources()],
        "warnings": list(loaded.warnings),
    }


def _print_config(loaded: LoadedConfig) -> None:
    click.echo(f"\nin force (file: {loaded.file or 'none, all defaults'}):")
    for source in loaded.sources():
        click.echo(f"  {source.key} = {source.value}  ({source.origin})")
    for warning in loaded.warnings:
        click.echo(f"!       {warning}")


def _pull(options: Options, config: Config) -> None:
    """Download with progress on stderr. Raises a `ModelError`."""
    from supervisor.health import doctor

    told: tuple[str, int] = ("", -1)
    for host, model, progress in doctor.pull_missing(config):
        percent = 0
        if progress.total_bytes:
            percent = int(100 * (progress.completed_bytes or 0) / progress.total_bytes)
        step = (f"{host} {model}: {progress.status}", percent // PULL_STEP_PERCENT)
        if step == told:
            continue
        told = step
        size = f" {percent} % of {progress.total_bytes / 1e9:.1f} GB" if progress.total_bytes else ""
        output.note(f"{step[0]}{size}")
    if not told[0]:
        output.note("no model is missing on a host that answers")


@click.command("report", short_help="What the night has brought: by project and task, with its proof.")
@click.argument("project", required=False, shell_complete=names.complete_project)
@click.option("--html", "page", type=click.Path(path_type=Path), metavar="FILE", help="Write a page instead.")
@shared
@pass_options
def report_command(options: Options, project: str | None, page: Path | None) -> None:
    """Report what was merged, what was not and why, what the checks said, and what went wrong on the way.

    \b
    nightcrew report
    nightcrew report shop --html report.html
    """
    from supervisor.cli import report, report_page

    with options.store() as store:
        only = None if project is None else names.project(store, project).name
        found = report.gather(store, only)
    if page is not None:
        try:
            page.write_text(report_page.as_html(found), encoding="utf-8")
        except OSError as error:
            raise NightcrewError(f"{page} cannot be written: {error.strerror}") from error
    if options.as_json:
        output.print_json(found | ({"html": str(page)} if page is not None else {}))
    elif page is not None:
        click.echo(f"report: {page}")
    else:
        for line in report.as_text(found):
            click.echo(output.plain(line))


@click.command("rehearse", short_help="Play a whole night in a minute, kills included, without a GPU.")
@click.option("--keep", is_flag=True, help="Keep the rehearsal's folder to look around in.")
@click.option("--verbose", is_flag=True, help="Every figure at the end; with --json, progress on stderr.")
@shared
@pass_options
def rehearse_command(options: Options, keep: bool, verbose: bool) -> None:
    """Play a night with a scripted model: real processes, real git, real checks, real kills. It has a home of
    its own and touches nothing of yours. Exit status 0 only if nothing was lost, done twice or left unmerged.

    \b
    nightcrew rehearse
    nightcrew rehearse --keep --verbose
    """
    from supervisor.trials.rehearse import rehearse, summary

    def say(text: str) -> None:
        if not options.as_json or verbose:
            click.echo(text, err=options.as_json)

    outcome = rehearse(options.home.path, keep=keep, say=say)
    if options.as_json:
        output.print_json(outcome.as_json())
    else:
        click.echo(summary(outcome))
        if verbose:
            output.print_json(outcome.as_json())
    raise click.exceptions.Exit(0 if outcome.ok else 1)


@click.command("drill", short_help="Kill a working crew's processes at random, then audit it.")
@click.option("--minutes", type=click.FloatRange(min=0.1), help="How long; 1 if --kills is not given either.")
@click.option("--kills", type=click.IntRange(min=1), help="Until so many SIGKILLs.")
@click.option("--seed", type=int, help="Repeat the same choices; a random one, which is shown, by default.")
@click.option("--keep", is_flag=True, help="Keep the drill's folder to look around in.")
@shared
@pass_options
def drill_command(
    options: Options, minutes: float | None, kills: int | None, seed: int | None, keep: bool
) -> None:
    """Random SIGKILLs of agents, supervisor, zygote, tmux and model server, stopped processes, clock jumps,
    suspends and a full disk, while a scripted crew works on real repositories. It has a home of its own and
    touches nothing of yours. Exit status 0 only if nothing was lost, done twice, stuck or damaged.

    \b
    nightcrew drill
    nightcrew drill --kills 1000 --seed 1 --json
    """
    import random

    from supervisor.trials.drill import Plan, drill, summary

    def say(text: str) -> None:
        click.echo(text, err=options.as_json)

    if minutes is None and kills is None:
        minutes = 1.0
    plan = Plan(random.randrange(10_000) if seed is None else seed, minutes, kills)
    outcome = drill(options.home.path, plan, keep=keep, say=say)
    if options.as_json:
        output.print_json(outcome.as_json())
    else:
        click.echo(summary(outcome))
    raise click.exceptions.Exit(0 if outcome.ok else 1)
