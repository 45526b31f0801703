"""`report`: the results by project and task."""

from __future__ import annotations

from pathlib import Path

import click

from store.errors import NightcrewError
from supervisor.cli import names, output
from supervisor.cli.options import Options, pass_options, shared


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
