"""Looking at the crew: status, info, history, incidents."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from store.rows import Incident, Timer
from supervisor.cli import names, output
from supervisor.cli.options import Options, pass_options, shared

if TYPE_CHECKING:
    from store.engine import Store
    from store.entries import Entry

DAY_S = 86_400.0


@click.command("status", short_help="Who runs, who does what, how far the projects are.")
@shared
@pass_options
def status_command(options: Options) -> None:
    """Show supervisor, model hosts, projects and agents: the store's rows beside what really lives.

    \b
    nightcrew status
    nightcrew status --json | jq '.agents[] | select(.state != "running")'
    """
    from store.errors import StoreMissing
    from supervisor.health import hosts, status

    try:
        with options.store() as store:
            found = _of_crew(store, options)
            needs_you = _needing_you(store, found)
    except StoreMissing:
        found = status.of_nothing(hosts.without_crew(_configured_hosts(options)))
        needs_you = 0
    if options.as_json:
        output.print_json(found | {"needs_you": needs_you})
    else:
        _print_status(options, found, needs_you)


def _of_crew(store: Store, options: Options) -> dict[str, Any]:
    from supervisor.health import hosts, status

    running = status.holder(options.home)
    urls = hosts.known(store) or _configured_hosts(options)
    if running is None:
        return status.of_crew(store, None, hosts.without_crew(urls))
    return status.of_crew(store, running, hosts.of_running_crew(urls, options.home, store))


def _configured_hosts(options: Options) -> list[str]:
    return list(options.load_config().config.model.hosts)


def _incidents(store: Store) -> list[Incident]:
    from store import incidents

    return incidents.listed(store)


def _needing_you(store: Store, found: dict[str, Any]) -> int:
    """Incidents of live projects, or of the last day, that a person has to look at."""
    live = {row["name"] for row in found["projects"] if row["state"] in ("active", "paused")}
    since = time.time() - DAY_S
    return sum(
        1 for row in _incidents(store) if row.needs_human and (row.project in live or row.created_at > since)
    )


def _print_status(options: Options, found: dict[str, Any], needs_you: int) -> None:
    supervisor = found["supervisor"]
    if supervisor is None:
        click.echo(f"no supervisor runs for {options.home.path}; `nightcrew up` starts it")
    else:
        click.echo(
            f"supervisor {supervisor['pid']}, start {supervisor['generation']}, since {supervisor['since']}"
        )
        if wrong := supervisor["stuck"]:
            click.echo(f"THE SUPERVISOR DOES NOTHING: {wrong['reason']}\n  -> {wrong['fix']}")
        if not supervisor["sleep_inhibited"] and any(p["state"] == "active" for p in found["projects"]):
            click.echo(f"the machine may fall asleep: {supervisor['sleep_reason']}")
    if short := found["disk_short"]:
        click.echo(
            f"the crew waits for room: {short['path']} had {short['free_mb']} MB free, "
            f"{short['least_mb']} are the least"
        )
    for host in found["model"]["hosts"]:
        click.echo(f"model host {host['url']}: {', '.join(_host_words(host))}")
    if isinstance(found["sandbox"], dict):
        click.echo(f"sandbox {found['sandbox'].get('summary', found['sandbox'].get('mode'))}")
    if needs_you:
        click.echo(f"{needs_you} incidents need you: `nightcrew incidents`")
    if found["projects"]:
        click.echo("")
        for line in output.table(
            ("project", "state", "tasks", "branch", "repository"), map(_project_cells, found["projects"])
        ):
            click.echo(line)
    if found["agents"]:
        click.echo("")
        for line in output.table(
            ("agent", "state", "doing", "task", "restarts", "pid"), map(_agent_cells, found["agents"])
        ):
            click.echo(line)


def _host_words(host: dict[str, Any]) -> list[str]:
    """`up`, `breaker closed`, `2 of 4 slots in use (a, b)`, `1 waits (c)`; only the first without a crew."""
    words, slots, breaker = [host["state"]], host["slots"], host["breaker"]
    if breaker is not None:
        until = f" until {output.local_iso(breaker['until'])}" if breaker["until"] else ""
        reason = f" ({output.plain(breaker['reason'])})" if breaker["reason"] else ""
        words.append(f"breaker {breaker['state'].replace('_', ' ')}{until}{reason}")
    if slots is not None:
        words.append(f"{slots['in_use']} of {slots['total']} slots in use{_some(slots['in_use_by'])}")
        if waiting := slots["waiting"]:
            words.append(f"{len(waiting)} {'waits' if len(waiting) == 1 else 'wait'}{_some(waiting)}")
    return words


def _some(names_: list[str], most: int = 4) -> str:
    """The first names in brackets, and how many more there are."""
    if not names_:
        return ""
    more = f" and {len(names_) - most} more" if len(names_) > most else ""
    return f" ({', '.join(names_[:most])}{more})"


def _project_cells(row: dict[str, Any]) -> tuple[Any, ...]:
    counts = row["tasks"]
    total = sum(counts.values())
    told = f"{counts['merged']} of {total} merged" + (
        f", {counts['parked']} parked" if counts["parked"] else ""
    )
    return (row["name"], row["state"], told if total else "none yet", row["branch"], row["repository"])


def _agent_cells(row: dict[str, Any]) -> tuple[Any, ...]:
    doing = "paused" if row["paused"] else row["activity"]
    if row["state"] != "running":
        doing = row["reason"] or ""
    return (
        row["name"],
        row["state"],
        doing,
        f"t{row['task']}" if row["task"] else "",
        row["restarts"] or "",
        row["pid"],
    )


@click.command("info", short_help="Everything about one agent.")
@click.argument("agent", shell_complete=names.complete_agent)
@shared
@pass_options
def info_command(options: Options, agent: str) -> None:
    """Show one agent: state, task, mailbox, timers, its latest incidents and where its things lie."""
    from actors.log import log_path
    from store import inbox, tasks, timers
    from store.states import MessageState
    from supervisor.health import status

    with options.store() as store:
        row = names.agent(store, agent)
        name = row.name
        waiting = inbox.listed(store, recipient=name, state=MessageState.READY)
        found = status.of_agent(row, status.holder(options.home)) | {
            "unread": len(waiting),
            "timers": [_timer(timer) for timer in timers.listed(store) if timer.recipient == name],
            "task_row": status.of_task(tasks.get(store, row.task)) if row.task else None,
            "incidents": [incident_as_json(i) for i in _incidents(store) if i.agent == name][:5],
            "log": str(log_path(options.home.logs, name)),
            "window": names.window_of(row) if row.kind == "agent" else None,
        }
    if options.as_json:
        output.print_json(found)
        return
    for key, value in found.items():
        if value not in (None, [], ""):
            click.echo(f"{key.replace('_', ' '):17} {_one_line(value)}")


def _timer(row: Timer) -> dict[str, Any]:
    return {"id": row.id, "note": row.note, "due_at": output.iso(row.due_at)}


def _one_line(value: Any) -> str:
    if isinstance(value, dict):
        return f"t{value['id']} {value['state']}: {value['title']}"
    if isinstance(value, list):
        return "; ".join(
            f"{item['created_at']} {item['kind']}" if "kind" in item else f"{item['id']} at {item['due_at']}"
            for item in value
        )
    return output.plain(str(value))


@click.command("history", short_help="What an agent read, thought, called and got.")
@click.argument("agent", shell_complete=names.complete_agent)
@click.option(
    "-n",
    "--count",
    "most",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    help="How many rows.",
)
@click.option("--full", is_flag=True, help="Every line of it; long ones are shortened otherwise.")
@shared
@pass_options
def history_command(options: Options, agent: str, most: int, full: bool) -> None:
    """Show the newest rows of an agent's conversation, oldest first.

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
    from store.entries import ReplyBody

    for entry in entries:
        text = render.render_entry(entry)
        if full and not isinstance(entry.body, ReplyBody):
            text = text.partition("\n")[0] + "\n" + output.plain(entry.body.text) + "\n"
        click.echo(text, nl=False)  # click takes the colours off where there is no terminal


@click.command("incidents", short_help="What went wrong and what was done about it.")
@click.option(
    "-n", "--count", "most", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many."
)
@click.option("--project", metavar="P", shell_complete=names.complete_project, help="Of this project alone.")
@shared
@pass_options
def incidents_command(options: Options, most: int, project: str | None) -> None:
    """List incidents, newest last; those marked ! need you."""
    from store import incidents

    with options.store() as store:
        only = None if project is None else names.project(store, project).name
        rows = list(reversed(incidents.listed(store, project=only, most=most)))
    if options.as_json:
        output.print_json([incident_as_json(row) for row in rows])
        return
    if not rows:
        click.echo("no incidents")
    for row in rows:
        detail = ", ".join(f"{key} {value}" for key, value in row.detail.items())
        who = row.agent or row.project or ""
        mark = "!" if row.needs_human else " "
        click.echo(output.plain(f"{mark} {output.local(row.created_at)}  {row.kind}  {who}  {detail}"))


def incident_as_json(row: Incident) -> dict[str, Any]:
    """One incident, as `incidents --json` lists it."""
    return {
        "id": row.id,
        "kind": row.kind,
        "agent": row.agent,
        "project": row.project,
        "needs_human": row.needs_human,
        "detail": row.detail,
        "created_at": output.iso(row.created_at),
        "age": output.for_how_long(time.time() - row.created_at),
    }
