"""Intervening: pause, resume, cancel, stop, restart. Only rows and messages change."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from store import crew
from store.rows import Agent, Project
from supervisor.cli import names, output
from supervisor.cli.options import Options, pass_options, shared
from supervisor.errors import UsageProblem

if TYPE_CHECKING:
    from store.engine import Transaction


def _intervene(options: Options, name: str, act: Callable[[Transaction, Agent | Project], str]) -> None:
    """Find who is meant, act in one transaction, say what was done and whether anyone is there to do it."""
    from supervisor.health import status

    with options.store() as store:
        target = names.either(store, name)
        with store.write() as tx:
            done = act(tx, target)
    alive = status.holder(options.home) is not None
    if options.as_json:
        output.print_json({"name": target.name, "done": done, "supervisor_runs": alive})
        return
    click.echo(done)
    if not alive:
        output.note("no supervisor runs: it takes effect with `nightcrew up`")


def _thinking(agent: Agent) -> str:
    if agent.role is None:
        raise UsageProblem(
            f"{agent.name} runs by code and has no turn to interrupt; "
            f"`nightcrew restart {agent.name}` replaces it"
        )
    return agent.name


@click.command("pause", short_help="Interrupt an agent or a project, until resume.")
@click.argument("name", shell_complete=names.complete_either)
@shared
@pass_options
def pause_command(options: Options, name: str) -> None:
    """Pause NAME, an agent or a whole project, at once, also in the middle of a model call or a command."""
    from actors.runtime.messages import Pause
    from actors.work import lifecycle

    def act(tx: Transaction, target: Agent | Project) -> str:
        if isinstance(target, Agent):
            lifecycle.control(tx, _thinking(target), Pause(), now=time.time())
            return f"{target.name} is told to pause; `nightcrew resume {target.name}` lets it go on"
        lifecycle.pause(tx, target.name, now=time.time())
        return f"the project {target.name} is paused; `nightcrew resume {target.name}` lets it go on"

    _intervene(options, name, act)


@click.command("resume", short_help="Let a paused agent or project go on.")
@click.argument("name", shell_complete=names.complete_either)
@shared
@pass_options
def resume_command(options: Options, name: str) -> None:
    """Resume NAME, an agent or a whole project."""
    from actors.runtime.messages import Resume
    from actors.work import lifecycle

    def act(tx: Transaction, target: Agent | Project) -> str:
        if isinstance(target, Agent):
            lifecycle.control(tx, _thinking(target), Resume(), now=time.time())
            return f"{target.name} is told to go on"
        lifecycle.resume(tx, target.name, now=time.time())
        return f"the project {target.name} goes on"

    _intervene(options, name, act)


@click.command("cancel", short_help="Drop what an agent does now, or end a project.")
@click.argument("name", shell_complete=names.complete_either)
@click.option(
    "--reason", default="cancelled by the human", show_default=True, help="Told to the agent, and kept."
)
@shared
@pass_options
def cancel_command(options: Options, name: str, reason: str) -> None:
    """Drop the turn of an agent, or end a project: its branches and worktrees stay, its agents go."""
    from actors.runtime.messages import CancelTurn
    from actors.work import lifecycle

    def act(tx: Transaction, target: Agent | Project) -> str:
        if isinstance(target, Agent):
            lifecycle.control(tx, _thinking(target), CancelTurn(reason=reason), now=time.time())
            return f"{target.name} is told to drop its turn"
        lifecycle.cancel(tx, target.name, reason=reason, now=time.time())
        return f"the project {target.name} is cancelled; what was merged is on {target.branch}"

    _intervene(options, name, act)


@click.command("stop", short_help="End an agent's or a project's processes, until restart.")
@click.argument("name", shell_complete=names.complete_either)
@shared
@pass_options
def stop_command(options: Options, name: str) -> None:
    """End the process of NAME, an agent or a whole project. `restart` brings it back where it was."""
    from actors.work import assignment, lifecycle

    def act(tx: Transaction, target: Agent | Project) -> str:
        if isinstance(target, Agent):
            crew.change_agent(tx, target.name, wanted=False)
            assignment.notify_supervisor(tx, target.project, now=time.time())
        else:
            lifecycle.stop(tx, target.name, now=time.time())
        return f"{target.name} is to stop; `nightcrew restart {target.name}` brings it back"

    _intervene(options, name, act)


@click.command("restart", short_help="Replace an agent's or a project's processes; lifts a quarantine.")
@click.argument("name", shell_complete=names.complete_either)
@shared
@pass_options
def restart_command(options: Options, name: str) -> None:
    """End and start the process of NAME, an agent or a whole project. It resumes at the step it was at."""
    from actors.work import lifecycle

    def act(tx: Transaction, target: Agent | Project) -> str:
        if isinstance(target, Agent):
            lifecycle.restart_agent(tx, target.name, now=time.time())
        else:
            lifecycle.restart(tx, target.name, now=time.time())
        return f"{target.name} is to start anew"

    _intervene(options, name, act)
