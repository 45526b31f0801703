"""Who is on a project's team, and putting a project away: create, archive."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from store.errors import NightcrewError
from store.rows import Project
from store.states import ProjectState, Role
from supervisor.cli import names, output
from supervisor.cli.options import Options, pass_options, shared
from supervisor.errors import UsageProblem

if TYPE_CHECKING:
    from actors.home import Home
    from store.engine import Store

_SHORT_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class StillRunning(NightcrewError):
    """What is to be put away still has processes."""


@click.command("create", short_help="Add an agent to a project's team.")
@click.argument("agent")
@click.option(
    "--role", required=True, metavar="R", help="engineer, qa, reviewer, devops, researcher, writer."
)
@click.option(
    "--project", required=True, metavar="P", shell_complete=names.complete_project, help="Whose team."
)
@shared
@pass_options
def create_command(options: Options, agent: str, role: str, project: str) -> None:
    """Add AGENT to the team of a project, beyond those that are hired by themselves.

    \b
    nightcrew create reviewer-1 --role reviewer --project shop
    """
    from actors.roles import role_named
    from actors.work import assignment, lifecycle
    from store import crew
    from supervisor.health import status

    kind = role_named(role)
    with options.store() as store:
        row = names.project(store, project)
        lifecycle.require_live(row)
        name = _new_name(agent, kind, row.name)
        known = crew.find_agent(store, name)
        if known is not None and known.role != kind:
            raise UsageProblem(f"there is an agent {name} already, a {known.role}; choose another name")
        with store.write() as tx:
            added = crew.add_agent(tx, name=name, kind="agent", role=kind, project=row.name, now=time.time())
            assignment.assign_waiting(tx, row, now=time.time())
            assignment.notify_supervisor(tx, row.name, now=time.time())
    alive = status.holder(options.home) is not None
    if options.as_json:
        output.print_json({"name": name, "role": kind, "project": row.name, "created": added})
        return
    click.echo(f"{name} joins the team of {row.name}" if added else f"{name} is on the team already")
    if not alive:
        output.note("no supervisor runs: it starts with `nightcrew up`")


def _new_name(text: str, role: Role, project: str) -> str:
    """`engineer-3` as `engineer-3.shop`. Raises `UsageProblem`."""
    if role in (Role.ORCHESTRATOR, Role.PROJECT_MANAGER):
        raise UsageProblem(f"there is one {role} already, made by code; create members of its team")
    short = text.removesuffix(f".{project}")
    if not _SHORT_NAME.fullmatch(short) or short in ("pm", "gate", project):
        raise UsageProblem(
            f"{text!r} cannot name an agent of {project}: use letters, digits and single hyphens, "
            "as engineer-3; pm and gate are taken"
        )
    return f"{short}.{project}"


@click.command("archive", short_help="Put ended projects away: out of the lists, their worktrees removed.")
@click.argument("projects", nargs=-1, metavar="[PROJECT]...", shell_complete=names.complete_project)
@shared
@pass_options
def archive_command(options: Options, projects: tuple[str, ...]) -> None:
    """Put ended projects away, or (without a name) all that have ended. Branches, history and report stay.

    \b
    nightcrew archive shop
    """
    from store import crew

    with options.store() as store:
        if projects:
            rows = [names.project(store, text) for text in projects]
        else:
            rows = [row for row in crew.all_projects(store) if not row.state.is_live]
        for row in rows:
            if row.state.is_live:
                raise UsageProblem(
                    f"the project {row.name} is {row.state}; `nightcrew cancel {row.name}` ends it first"
                )
        done = [_archive(options.home, store, row) for row in rows if row.state is not ProjectState.ARCHIVED]
    if options.as_json:
        output.print_json({"archived": done})
    else:
        click.echo(f"archived: {', '.join(done)}" if done else "nothing to archive: no project has ended")


def _archive(home: Home, store: Store, project: Project) -> str:
    """Refuse while processes of it live; then the worktrees, then the rows."""
    from actors.work import lifecycle
    from store import crew
    from supervisor.health import status

    name = project.name
    found = status.holder(home)
    alive = [
        row.name
        for row in crew.all_agents(store, project=name)
        if status.of_agent(row, found)["pid"] is not None
    ]
    if alive:
        raise StillRunning(f"{', '.join(alive)} still run; try again in a moment, see `nightcrew status`")
    _remove_worktrees(home, project)
    with store.write() as tx:
        lifecycle.archive(tx, name, now=time.time())
    return name


def _remove_worktrees(home: Home, project: Project) -> None:
    """Work that was not committed is, on the task's branch; then the folders go."""
    import shutil

    from actors.git.checkouts import open_worktree, remove_worktree
    from actors.git.commits import commit_all
    from actors.git.repository import open_repository

    shutil.rmtree(home.environment(project.name), ignore_errors=True)
    folder = home.path / "work" / project.name
    if not folder.is_dir():
        return
    if Path(project.repository).is_dir():
        repository = open_repository(Path(project.repository))
        for path in sorted(folder.iterdir()):
            if re.fullmatch(r"t\d+", path.name):
                worktree = open_worktree(repository, path)
                commit_all(worktree, "Work left over when the project was archived", locks=home.locks)
            remove_worktree(repository, path, locks=home.locks)
    shutil.rmtree(folder, ignore_errors=True)
