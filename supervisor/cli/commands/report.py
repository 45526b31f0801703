"""`report` and `incidents`: the results by project and task, and what went wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from store.errors import NightcrewError
from store.rows import Incident
from supervisor.cli import names, output, wording
from supervisor.cli.options import Options, pass_options, shared


@click.command("report", short_help="Show the results by project and task.")
@click.argument("project", required=False, shell_complete=names.complete_project)
@click.option("--html", "page", type=click.Path(path_type=Path), metavar="FILE", help="Write an HTML page.")
@shared
@pass_options
def report_command(options: Options, project: str | None, page: Path | None) -> None:
    """Show what was merged, what was not and why, the results of the checks, and the incidents.

    \b
    nightcrew report
    nightcrew report shop --html report.html
    """
    from supervisor.cli import report

    with options.store() as store:
        only = None if project is None else names.project(store, project).name
        found = report.gather(store, only)
    if page is not None:
        from supervisor.cli import report_page

        try:
            page.write_text(report_page.as_html(found), encoding="utf-8")
        except OSError as error:
            raise NightcrewError(f"cannot write {page}: {error.strerror}") from error
    if options.as_json:
        output.print_json(found | ({"html": str(page)} if page is not None else {}))
    elif page is not None:
        click.echo(f"report: {page}")
    else:
        for line in report.as_text(found):
            click.echo(output.plain(line))


@click.command("incidents", short_help="Show what went wrong and what was done about it.")
@click.option(
    "-n",
    "--count",
    "most",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="Number of incidents.",
)
@click.option("--project", metavar="P", shell_complete=names.complete_project, help="Only of this project.")
@shared
@pass_options
def incidents_command(options: Options, most: int, project: str | None) -> None:
    """List incidents, the newest last. Those marked with ! need your attention."""
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
        who = row.agent or row.project or ""
        mark = "!" if row.needs_human else " "
        text = f"{mark} {output.local(row.created_at)}  {who:20} {wording.incident(row.kind, row.detail)}"
        click.echo(output.plain(text))


def incident_as_json(row: Incident) -> dict[str, Any]:
    """One incident as `incidents --json` prints it."""
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
