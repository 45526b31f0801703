"""`info` and `history`: one agent's state and its conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from store.rows import Timer
from store.states import ActorKind
from supervisor.cli import names, output, wording
from supervisor.cli.commands.report import incident_as_json
from supervisor.cli.options import Options, pass_options, shared

if TYPE_CHECKING:
    from store.entries import Entry

MAX_INCIDENTS = 5


@click.command("info", short_help="Show everything about one agent.")
@click.argument("agent", shell_complete=names.complete_agent)
@shared
@pass_options
def info_command(options: Options, agent: str) -> None:
    """Show one agent: state, task, mailbox, timers, latest incidents, log and window."""
    from actors.log import log_path
    from store import inbox, incidents, tasks, timers
    from store.states import MessageState
    from supervisor.health import status

    with options.store() as store:
        row = names.agent(store, agent)
        name = row.name
        unread = inbox.listed(store, recipient=name, state=MessageState.READY)
        latest = [incident_as_json(i) for i in incidents.listed(store) if i.agent == name]
        found = status.of_agent(row, status.holder(options.home)) | {
            "unread": len(unread),
            "timers": [_timer(timer) for timer in timers.listed(store) if timer.recipient == name],
            "task_row": status.of_task(tasks.get(store, row.task)) if row.task else None,
            "incidents": latest[:MAX_INCIDENTS],
            "log": str(log_path(options.home.logs, name)),
            "window": names.window_of(row) if row.kind == ActorKind.AGENT else None,
        }
    if options.as_json:
        output.print_json(found)
    else:
        _print_info(found)


def _timer(row: Timer) -> dict[str, Any]:
    return {"id": row.id, "note": row.note, "due_at": output.iso(row.due_at)}


def _print_info(found: dict[str, Any]) -> None:
    for key, value in found.items():
        # `task_row` shows the task with its title.
        if key != "task" and value not in (None, [], ""):
            name = key.removesuffix("_row").replace("_", " ")
            click.echo(f"{name:17} {output.plain(wording.readable(_info_text(key, value)))}")


def _info_text(key: str, value: Any) -> str:
    match key:
        case "task_row":
            return f"t{value['id']} {value['state']}: {value['title']}"
        case "timers":
            return "; ".join(f"{item['id']} at {output.local_iso(item['due_at'])}" for item in value)
        case "incidents":
            return "; ".join(f"{output.local_iso(item['created_at'])} {item['kind']}" for item in value)
        case "wanted" | "paused":
            return "yes" if value else "no"
        case _:
            return output.local_iso(value) if key.endswith(("_at", "_since")) else str(value)


@click.command("history", short_help="Show an agent's conversation with its model and tools.")
@click.argument("agent", shell_complete=names.complete_agent)
@click.option(
    "-n",
    "--count",
    "most",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    help="Number of entries.",
)
@click.option("--full", is_flag=True, help="Do not shorten long entries.")
@shared
@pass_options
def history_command(options: Options, agent: str, most: int, full: bool) -> None:
    """Show the newest entries of an agent's conversation, oldest first.

    \b
    nightcrew history engineer-1 -n 50 | less -R
    """
    from store import history

    with options.store() as store:
        name = names.agent(store, agent).name
        entries = history.newest(store, name, most=most)
    if options.as_json:
        output.print_json([_entry(entry) for entry in entries])
    elif not entries:
        click.echo(f"{name} has no history yet")
    else:
        _print_entries(entries, full=full)


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "agent": entry.agent,
        "kind": entry.kind.value,
        "body": entry.body.as_json(),
        "message": entry.message,
        "task": entry.task,
        "created_at": output.iso(entry.created_at),
    }


def _print_entries(entries: list[Entry], *, full: bool) -> None:
    from actors.screen import render

    for entry in entries:
        # click removes the colours if the output is not a terminal.
        click.echo(render.render_entry(entry, full=full), nl=False)
