"""`create` and `archive`: add an agent to a project, and archive ended projects."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import click

from store.states import ActorKind, ProjectState, Role
from supervisor.cli import names, output
from supervisor.cli.options import Options, pass_options, shared
from supervisor.errors import UsageProblem

if TYPE_CHECKING:
    pass

_SHORT_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@click.command("create", short_help="Add an agent to a project's team.")
@click.argument("agent")
@click.option(
    "--role", required=True, metavar="R", help="engineer, qa, reviewer, devops, researcher or writer."
)
@click.option(
    "--project", required=True, metavar="P", shell_complete=names.complete_project, help="The project."
)
@shared
@pass_options
def create_command(options: Options, agent: str, role: str, project: str) -> None:
    """Add AGENT to the team of a project. Engineers and QA are added automatically.

    \b
    nightcrew create reviewer-1 --role reviewer --project shop
    """
    from actors.roles import role_named
    from actors.work import assignment, lifecycle, team
    from store import crew
    from supervisor.health import status

    kind = role_named(role)
    with options.store() as store:
        row = names.project(store, project)
        lifecycle.require_live(row)
        name = _new_name(agent, kind, row.name)
        known = crew.find_agent(store, name)
        if known is not None and known.role != kind:
            raise UsageProblem(
                f"the agent {name} already exists, with the role {known.role}; choose another name"
            )
        with store.write() as tx:
            added = crew.add_agent(
                tx, name=name, kind=ActorKind.AGENT, role=kind, project=row.name, now=time.time()
            )
            assignment.assign_waiting(tx, row, now=time.time())
            team.notify_supervisor(tx, row.name, now=time.time())
    alive = status.holder(options.home) is not None
    if options.as_json:
        output.print_json({"name": name, "role": kind, "project": row.name, "created": added})
        return
    click.echo(f"{name} was added to {row.name}" if added else f"{name} already exists")
    if not alive:
        output.note("the crew is not running; the agent starts with `nightcrew up`")


def _new_name(text: str, role: Role, project: str) -> str:
    """The full name, `engineer-3.shop` for `engineer-3`. Raises `UsageProblem`."""
    if role in (Role.ORCHESTRATOR, Role.PROJECT_MANAGER):
        raise UsageProblem(f"the {role} is created automatically, and there can be only one")
    short = text.removesuffix(f".{project}")
    if not _SHORT_NAME.fullmatch(short) or short in ("pm", "gate", project):
        raise UsageProblem(
            f"invalid name {text!r}: expected letters, digits and single hyphens, for example engineer-3; "
            "pm and gate are reserved"
        )
    return f"{short}.{project}"


@click.command("archive", short_help="Archive ended projects and remove their worktrees.")
@click.argument("projects", nargs=-1, metavar="[PROJECT]...", shell_complete=names.complete_project)
@shared
@pass_options
def archive_command(options: Options, projects: tuple[str, ...]) -> None:
    """Archive PROJECT, or all projects that have ended. Branches, history and report are kept.

    \b
    nightcrew archive shop
    """
    from store import crew
    from supervisor import archiving

    with options.store() as store:
        if projects:
            rows = [names.project(store, text) for text in projects]
        else:
            rows = [row for row in crew.all_projects(store) if not row.state.is_live]
        for row in rows:
            if row.state.is_live:
                raise UsageProblem(
                    f"the project {row.name} is {row.state}; end it with `nightcrew cancel {row.name}` first"
                )
        ended = [row for row in rows if row.state is not ProjectState.ARCHIVED]
        for row in ended:
            archiving.archive(options.home, store, row)
    done = [row.name for row in ended]
    if options.as_json:
        output.print_json({"archived": done})
    else:
        click.echo(f"archived: {', '.join(done)}" if done else "nothing to archive")
