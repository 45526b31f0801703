"""`status`: the supervisor, the model hosts, the projects and the agents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli import output, wording
from supervisor.cli.options import Options, pass_options, shared

if TYPE_CHECKING:
    from store.engine import Store

MAX_NAMES = 4


@click.command("status", short_help="Show projects, agents and what they are doing.")
@shared
@pass_options
def status_command(options: Options) -> None:
    """Show the supervisor, the model hosts, the projects and the agents.

    \b
    nightcrew status
    nightcrew status --json | jq '.agents[] | select(.state != "running")'
    """
    from store.errors import StoreMissing
    from supervisor.health import hosts, status

    try:
        with options.store() as store:
            found = _of_crew(store, options)
            needs_you = status.needing_attention(store)
    except StoreMissing:
        found = status.of_nothing(hosts.without_crew(_configured_hosts(options)))
        needs_you = 0
        if not options.as_json:
            click.echo("No crew yet: nightcrew run spec.md")
    if options.as_json:
        output.print_json(found | {"needs_you": needs_you})
    else:
        _print(options, found, needs_you)


def _of_crew(store: Store, options: Options) -> dict[str, Any]:
    from supervisor.health import hosts, status

    running = status.holder(options.home)
    urls = hosts.known(store) or _configured_hosts(options)
    if running is None:
        return status.of_crew(store, None, hosts.without_crew(urls))
    return status.of_crew(store, running, hosts.of_running_crew(urls, options.home, store))


def _configured_hosts(options: Options) -> list[str]:
    return list(options.load_config().config.model.hosts)


def _print(options: Options, found: dict[str, Any], needs_you: int) -> None:
    if found["supervisor"] is not None:
        _print_supervisor(found["supervisor"], found["projects"])
    elif found["agents"]:
        click.echo(f"the crew in {options.home.path} is not running; start it with `nightcrew up`")
    if short := found["disk_short"]:
        click.echo(wording.incident("disk_short", short))
    for host in found["model"]["hosts"]:
        click.echo(f"model host {host['url']}: {', '.join(_host_words(host))}")
    if isinstance(found["sandbox"], dict):
        click.echo(f"sandbox {found['sandbox'].get('summary', found['sandbox'].get('mode'))}")
    if needs_you:
        verb = "needs" if needs_you == 1 else "need"
        click.echo(f"{wording.count(needs_you, 'incident')} {verb} your attention: `nightcrew incidents`")
    _print_table(
        ("project", "state", "tasks", "branch", "repository"), map(_project_cells, found["projects"])
    )
    _print_table(("agent", "state", "doing", "task", "restarts", "pid"), map(_agent_cells, found["agents"]))


def _print_supervisor(supervisor: dict[str, Any], projects: list[dict[str, Any]]) -> None:
    since = output.local_iso(supervisor["since"])
    click.echo(f"crew running since {since} (supervisor {supervisor['pid']})")
    if problem := supervisor["stuck"]:
        click.echo(f"supervisor not responding ({problem['reason']})\n  -> {problem['fix']}")
    if not supervisor["sleep_inhibited"] and any(project["state"] == "active" for project in projects):
        click.echo(f"the machine may go to sleep: {supervisor['sleep_reason']}")


def _print_table(heads: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    cells = list(rows)
    if cells:
        click.echo("")
    for line in output.table(heads, cells) if cells else ():
        click.echo(line)


def _host_words(host: dict[str, Any]) -> list[str]:
    """`up`, `2 of 4 slots in use (a, b)`, `1 waiting (c)`; the circuit breaker only while it blocks requests."""
    words, slots, breaker = [host["state"]], host["slots"], host["breaker"]
    if breaker is not None and breaker["state"] != "closed":
        reason = f" ({output.plain(breaker['reason'])})" if breaker["reason"] else ""
        until = output.local_iso(breaker["until"]) if breaker["until"] else None
        words.append(f"not used until {until}{reason}" if until else f"being tried again{reason}")
    if slots is not None:
        words.append(f"{slots['in_use']} of {slots['total']} slots in use{_names(slots['in_use_by'])}")
        if waiting := slots["waiting"]:
            words.append(f"{len(waiting)} waiting{_names(waiting)}")
    return words


def _names(found: list[str]) -> str:
    """The first names in brackets, and how many more there are; empty without names."""
    if not found:
        return ""
    more = f" and {len(found) - MAX_NAMES} more" if len(found) > MAX_NAMES else ""
    return f" ({', '.join(found[:MAX_NAMES])}{more})"


def _project_cells(project: dict[str, Any]) -> tuple[Any, ...]:
    counts = project["tasks"]
    total = sum(counts.values())
    parked = f", {counts['parked']} parked" if counts["parked"] else ""
    progress = f"{counts['merged']} of {total} merged{parked}" if total else "none yet"
    return (project["name"], project["state"], progress, project["branch"], project["repository"])


def _agent_cells(agent: dict[str, Any]) -> tuple[Any, ...]:
    doing = "paused" if agent["paused"] else agent["activity"].replace("_", " ")
    if agent["state"] != "running":
        doing = wording.readable(agent["reason"] or "")
    return (
        agent["name"],
        agent["state"],
        doing,
        f"t{agent['task']}" if agent["task"] else "",
        agent["restarts"] or "",
        agent["pid"],
    )
