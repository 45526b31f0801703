"""`rehearse` and `drill`: run a whole crew with a scripted model, kill its processes, and audit the result."""

from __future__ import annotations

import click

from supervisor.cli import output
from supervisor.cli.options import Options, pass_options, shared


@click.command("rehearse", short_help="Run a crew with a scripted model, in a minute, without a GPU.")
@click.option("--keep", is_flag=True, help="Keep the rehearsal's folder.")
@click.option(
    "--verbose", is_flag=True, help="Print all figures at the end; with --json, progress on stderr."
)
@shared
@pass_options
def rehearse_command(options: Options, keep: bool, verbose: bool) -> None:
    """Run a crew with a scripted model; processes, git, checks and kills are real.

    The rehearsal uses a home and a repository of its own. Exits with 0 only if all work was merged and nothing
    was lost or done twice.

    \b
    nightcrew rehearse
    nightcrew rehearse --keep --verbose
    """
    from supervisor.trials.rehearse import rehearse
    from supervisor.trials.rehearse_outcome import summary

    def report(text: str) -> None:
        if not options.as_json or verbose:
            click.echo(text, err=options.as_json)

    outcome = rehearse(options.home.path, keep=keep, report=report)
    if options.as_json:
        output.print_json(outcome.as_json())
    else:
        click.echo(summary(outcome))
        if verbose:
            output.print_json(outcome.as_json())
    raise click.exceptions.Exit(0 if outcome.ok else 1)


@click.command("drill", short_help="Kill processes of a working crew at random, then audit it.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0.1),
    help="Duration in minutes; default: 1, or no limit with --kills.",
)
@click.option("--kills", type=click.IntRange(min=1), help="Stop after this number of kills.")
@click.option("--seed", type=int, help="Seed of the random choices; default: a random one, which is printed.")
@click.option("--keep", is_flag=True, help="Keep the drill's folder.")
@shared
@pass_options
def drill_command(
    options: Options, minutes: float | None, kills: int | None, seed: int | None, keep: bool
) -> None:
    """Disturb a crew that works on real repositories, then check that nothing was lost or done twice.

    Kills agents, supervisor, zygote, tmux and model server, stops processes, jumps the clock, suspends the crew
    and fills the disk. The drill uses a home of its own and a scripted model. Exits with 0 only if the audit
    finds nothing.

    \b
    nightcrew drill
    nightcrew drill --kills 1000 --seed 1 --json
    """
    import random

    from supervisor.trials.drill import Plan, drill
    from supervisor.trials.drill_outcome import summary

    def report(text: str) -> None:
        click.echo(text, err=options.as_json)

    if minutes is None and kills is None:
        minutes = 1.0
    plan = Plan(random.randrange(10_000) if seed is None else seed, minutes, kills)
    outcome = drill(options.home.path, plan, keep=keep, report=report)
    if options.as_json:
        output.print_json(outcome.as_json())
    else:
        click.echo(summary(outcome))
    raise click.exceptions.Exit(0 if outcome.ok else 1)
