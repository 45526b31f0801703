"""`schedule`: add, list and cancel check-ins."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from store.rows import Timer
from supervisor.cli import names, output
from supervisor.cli.options import Options, pass_options, shared
from supervisor.errors import UsageProblem

MAX_MINUTES = 366 * 24 * 60


class _MinutesOrCommand(click.Group):
    """Treats `schedule list` and `schedule cancel` as commands, and anything else as a check-in to add."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = [word for word in args if not word.startswith("-")]
        asks_for_help = not words and any(word in ctx.help_option_names for word in args)
        is_command = bool(words) and words[0] in self.commands
        if args and not asks_for_help and not is_command and words:
            args = ["add", *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the options of the hidden command `add` as options of `schedule`."""
        every = [*self.commands["add"].get_params(ctx), *self.get_params(ctx)]
        shown = [p for p in every if isinstance(p, click.Option)]
        records = {record[0]: record for p in shown if (record := p.get_help_record(ctx)) is not None}
        with formatter.section("Options"):
            formatter.write_dl(list(records.values()))
        self.format_commands(ctx, formatter)


@click.group(
    "schedule",
    cls=_MinutesOrCommand,
    invoke_without_command=True,
    subcommand_metavar="MIN NOTE | NOTE --cron EXPR | list | cancel ID",
    short_help="Send an agent a note later, repeatedly, or by a cron rule.",
)
@shared
@click.pass_context
def schedule_command(context: click.Context) -> None:
    """Send NOTE to an agent in MIN minutes, repeatedly with --every, or by a cron rule.

    Check-ins survive a reboot. A missed check-in is sent once, with a remark that it is late.

    \b
    nightcrew schedule 30 "Is the login page done?"              to the orchestrator
    nightcrew schedule 15 "Commit and report" --agent pm --every
    nightcrew schedule "Morning summary" --cron "30 6 * * *"     in your time zone
    nightcrew schedule list
    nightcrew schedule cancel 7
    """
    if context.invoked_subcommand is None:
        _list(context.ensure_object(Options), everything=False)


@schedule_command.command("add", hidden=True)
@click.argument("words", nargs=-1, required=True, metavar="MIN NOTE | NOTE --cron EXPR")
@click.option(
    "--agent",
    default="orchestrator",
    show_default=True,
    metavar="A",
    shell_complete=names.complete_agent,
    help="The agent that gets the note.",
)
@click.option("--every", is_flag=True, help="Repeat every MIN minutes.")
@click.option("--cron", metavar="EXPR", help='A cron rule instead of MIN, such as "0 7 * * 1-5".')
@shared
@pass_options
def add_command(options: Options, words: tuple[str, ...], agent: str, every: bool, cron: str | None) -> None:
    """Add a check-in: MIN NOTE, or NOTE --cron EXPR."""
    minutes, text = _minutes_and_note(words, every=every, cron=cron)
    zone = None if cron is None else _local_zone()
    due_at = time.time() + (minutes or 0.0) * 60 if cron is None else _first_due(cron, zone)
    with options.store() as store:
        from actors.runtime.addresses import HUMAN
        from store import timers

        row = names.agent(store, agent)
        if row.role is None:
            raise UsageProblem(f"{row.name} has no model and takes no check-ins; choose an agent with a role")
        with store.write() as tx:
            added = timers.add(
                tx,
                recipient=row.name,
                note=text,
                due_at=due_at,
                created_by=HUMAN,
                now=time.time(),
                every_s=minutes * 60 if every and minutes is not None else None,
                cron=cron,
                timezone=zone,
            )
    if options.as_json:
        output.print_json({"id": added, "to": row.name, "note": text, "due_at": output.iso(due_at)})
    else:
        again = f", then every {minutes:g} min" if every else f", then by {cron!r}" if cron else ""
        click.echo(f"check-in {added} for {row.name} at {output.local(due_at)}{again}")


def _minutes_and_note(words: tuple[str, ...], *, every: bool, cron: str | None) -> tuple[float | None, str]:
    """The minutes (None with `cron`) and the note. Raises `UsageProblem`."""
    if cron is not None:
        if every:
            raise UsageProblem("--every cannot be used with --cron, which repeats anyway")
        if len(words) != 1:
            raise UsageProblem('with --cron give only the note: `schedule "note" --cron "0 7 * * *"`')
        return None, _note(words[0])
    if len(words) != 2:
        raise UsageProblem('expected MIN and a quoted NOTE: `schedule 30 "Is it done?"`')
    try:
        minutes = float(words[0])
    except ValueError:
        raise UsageProblem(f"invalid MIN value {words[0]!r}: expected a positive number") from None
    if not 0 < minutes <= MAX_MINUTES:
        raise UsageProblem(
            f"invalid MIN value {words[0]!r}: expected more than 0 and at most {MAX_MINUTES} (a year)"
        )
    return minutes, _note(words[1])


def _note(text: str) -> str:
    if not text.strip():
        raise UsageProblem("the note is empty")
    return text


def _first_due(expression: str, zone: str | None) -> float:
    """The first time of a cron rule, in UTC seconds. Raises `UsageProblem`."""
    from actors.work.timer import next_cron

    form = 'minute hour day month weekday, for example "30 6 * * 1-5"'
    try:
        found = next_cron(expression, zone, time.time())
    except ValueError as error:
        raise UsageProblem(f"invalid cron rule {expression!r}: {error}; expected {form}") from error
    if found is None:
        raise UsageProblem(f"the cron rule {expression!r} matches no date; expected {form}")
    return found


def _local_zone() -> str | None:
    """The name of this machine's time zone, so that rules follow daylight saving time; None if unknown."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    name = (
        os.environ.get("TZ", "").lstrip(":")
        or str(Path("/etc/localtime").resolve()).partition("zoneinfo/")[2]
    )
    try:
        return ZoneInfo(name).key if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@schedule_command.command("list", short_help="List check-ins.")
@click.option("--all", "everything", is_flag=True, help="Include past and cancelled ones.")
@shared
@pass_options
def list_command(options: Options, everything: bool) -> None:
    """List check-ins, the next one first."""
    _list(options, everything=everything)


def _list(options: Options, *, everything: bool) -> None:
    from store import timers

    with options.store() as store:
        rows = timers.listed(store, everything=everything)
    if options.as_json:
        output.print_json([_as_json(row) for row in rows])
    elif not rows:
        click.echo("no check-ins are scheduled")
    else:
        cells = [
            (row.id, output.local(row.due_at), row.recipient, _repetition(row), row.state, row.note)
            for row in rows
        ]
        for line in output.table(("id", "due", "agent", "repeats", "state", "note"), cells):
            click.echo(line)


def _repetition(row: Timer) -> str:
    if row.cron:
        return f"{row.cron} {row.timezone or ''}".strip()
    return f"every {row.every_s / 60:g} min" if row.every_s else ""


def _as_json(row: Timer) -> dict[str, Any]:
    return {
        "id": row.id,
        "to": row.recipient,
        "note": row.note,
        "state": row.state,
        "due_at": output.iso(row.due_at),
        "every_s": row.every_s,
        "cron": row.cron,
        "timezone": row.timezone,
        "created_by": row.created_by,
        "fired_at": output.iso(row.fired_at),
        "fired_count": row.fired_count,
    }


@schedule_command.command("cancel", short_help="Cancel a check-in.")
@click.argument("timer_id", metavar="ID", type=int)
@shared
@pass_options
def cancel_command(options: Options, timer_id: int) -> None:
    """Cancel the check-in ID."""
    from store import timers

    with options.store() as store, store.write() as tx:
        cancelled = timers.cancel(tx, timer_id)
    if not cancelled:
        raise UsageProblem(f"no check-in {timer_id} is scheduled; see `nightcrew schedule list`")
    if options.as_json:
        output.print_json({"id": timer_id, "state": "cancelled"})
    else:
        click.echo(f"check-in {timer_id} is cancelled")
