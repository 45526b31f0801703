"""`run`, `deploy` and `tasks`: have a crew work on a spec, and list its tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from store.rows import Project, Task
from supervisor.cli import names, output, waiting
from supervisor.cli.options import Options, pass_options, shared
from supervisor.errors import NotRunning

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.engine import Store
    from supervisor.config import LoadedConfig
    from supervisor.project_spec.deploy import Site
    from supervisor.project_spec.spec import Spec


def _project_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--wait", is_flag=True, help="Wait until the project ends; exit 0 only if everything was merged."
        ),
        click.option("--qa/--no-qa", default=None, help="Have a QA agent test work that passed the checks."),
        click.option(
            "--engineers",
            type=click.IntRange(1, 100),
            metavar="N",
            help="Maximum number of concurrent engineers; default: `[work] engineers`.",
        ),
        click.option(
            "--repo",
            type=click.Path(path_type=Path),
            default=Path(),
            metavar="DIR",
            help="The git repository to work on; default: the repository in the current directory.",
        ),
        click.argument("spec", type=click.Path(path_type=Path)),
    ):
        command = option(command)
    return command


@click.command("run", short_help="Have a crew work on a spec; starts the crew if necessary.")
@_project_options
@click.option(
    "--unsafe",
    is_flag=True,
    help="Run agents' commands without a sandbox, with all permissions of your user account.",
)
@shared
@pass_options
def run_command(
    options: Options,
    spec: Path,
    repo: Path,
    engineers: int | None,
    qa: bool | None,
    wait: bool,
    unsafe: bool,
) -> None:
    """Have a crew work on SPEC in a git repository. Your branches, index and files are not changed.

    Work is merged into branches under `nightcrew/`. If this spec already has a running project, no second
    one is started and --engineers and --qa have no effect. With --wait, Ctrl-C stops watching, but the crew continues.

    \b
    nightcrew run spec.md
    nightcrew run spec.md --repo ~/src/shop --engineers 3 --qa --wait
    """
    _work(options, spec, repo, engineers, qa, wait=wait, unsafe=unsafe, start=True)


@click.command("deploy", short_help="Add a project to a running crew.")
@_project_options
@shared
@pass_options
def deploy_command(
    options: Options, spec: Path, repo: Path, engineers: int | None, qa: bool | None, wait: bool
) -> None:
    """Like `run`, but fails if no crew is running.

    \b
    nightcrew deploy other-spec.md --repo ../other
    """
    from supervisor.health import status

    if status.holder(options.home) is None:
        raise NotRunning(
            f"no crew is running in {options.home.path}; start it with `nightcrew up`, or start it "
            f"and deploy with `nightcrew run {spec}`"
        )
    _work(options, spec, repo, engineers, qa, wait=wait, unsafe=False, start=False)


def _work(
    options: Options,
    spec_file: Path,
    repository: Path,
    engineers: int | None,
    qa: bool | None,
    *,
    wait: bool,
    unsafe: bool,
    start: bool,
) -> None:
    """Check spec, repository and model first; then start the supervisor and create the project."""
    from supervisor.cli.commands import start as starting
    from supervisor.project_spec import deploy
    from supervisor.project_spec.file import read_spec
    from supervisor.project_spec.names import running_project

    spec = read_spec(spec_file)
    site = deploy.inspect(spec, repository)
    loaded = options.load_config()
    _print_warnings(options, loaded, spec, site)
    if start and starting.ensure(options, unsafe=unsafe) and not options.as_json:
        output.note(f"the crew is running (home {options.home.path})")
    with options.store() as store:
        known = running_project(store, spec, site.repository)
        project = known or deploy.deploy(
            store, options.home, loaded.config, spec, repository, engineers, qa, site=site
        )
        with waiting.stop_watching_on_interrupt(project.name):
            if not options.as_json or wait:
                _print_started(options, project, already=known is not None)
            if wait:
                waiting.wait(options, store, project.name)
            elif options.as_json:
                output.print_json(_as_json(store, project, already=known is not None))


def _print_warnings(options: Options, loaded: LoadedConfig, spec: Spec, site: Site) -> None:
    """Also check the model hosts, unless the project is running. Raises `NotReady` or `ProjectNameTaken`."""
    from supervisor.health import preflight

    warnings = [*site.warnings, *loaded.warnings, *filter(None, [preflight.screen_warning(loaded.config)])]
    if not _is_running(options, spec, site):
        warnings += preflight.check_model(loaded.config)
    for warning in warnings:
        output.note(f"warning: {warning}")


def _is_running(options: Options, spec: Spec, site: Site) -> bool:
    """Whether a crew is working on this spec and repository. Raises `ProjectNameTaken`."""
    from store.errors import StoreMissing
    from supervisor.project_spec.names import running_project

    try:
        with options.store() as store:
            return running_project(store, spec, site.repository) is not None
    except StoreMissing:
        return False


def _print_started(options: Options, project: Project, *, already: bool) -> None:
    name = project.name
    what = "is already being worked on" if already else "has started"
    lines = [f"project {name} {what}: branch {project.branch} of {project.repository}"]
    if not already:
        lines.append(
            f"watch it with `nightcrew attach` or `nightcrew tasks {name}`; results: `nightcrew report {name}`"
        )
    for line in lines:
        click.echo(line, err=options.as_json)


def _as_json(store: Store, project: Project, *, already: bool) -> dict[str, Any]:
    from supervisor.health import status

    return {"project": project.name, "already": already, **status.of_project(store, project)}


@click.command("tasks", short_help="List the tasks of all projects, or of one.")
@click.argument("project", required=False, shell_complete=names.complete_project)
@shared
@pass_options
def tasks_command(options: Options, project: str | None) -> None:
    """List tasks with state, assignee and number of refused submissions.

    \b
    nightcrew tasks
    nightcrew tasks shop --json
    """
    from store import tasks
    from supervisor.health import status

    with options.store() as store:
        only = None if project is None else names.project(store, project).name
        rows = tasks.listed(store, project=only)
    if options.as_json:
        output.print_json([status.of_task(row) for row in rows])
    elif not rows:
        click.echo("no tasks yet; the manager plans them from the spec")
    else:
        for line in task_lines(rows):
            click.echo(line)


def task_lines(rows: list[Task]) -> list[str]:
    """The table of tasks."""
    cells = [
        (
            f"t{row.id}",
            row.project,
            row.state.replace("_", " "),
            (row.assignee or "").partition(".")[0],
            row.attempts or "",
            (row.merged_commit or "")[:10],
            row.title,
        )
        for row in rows
    ]
    return output.table(("task", "project", "state", "assignee", "tries", "merged", "title"), cells)
