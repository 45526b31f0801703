"""`pause`, `resume`, `cancel`, `stop` and `restart`, for an agent or a project.

The commands only change rows and send messages. Agents and the supervisor act on them.
"""

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
    """Find the agent or project called `name`, run `act` on it in one transaction, and print what it returns."""
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
        output.note("the crew is not running; this takes effect after `nightcrew up`")


def _with_turns(agent: Agent) -> str:
    """The name of an agent that has turns. Raises `UsageProblem` for the gate, the timer and tmux."""
    if agent.role is None:
        raise UsageProblem(
            f"{agent.name} has no model and no turn to interrupt; "
            f"to replace its process: `nightcrew restart {agent.name}`"
        )
    return agent.name


@click.command("pause", short_help="Pause an agent or a project.")
@click.argument("name", shell_complete=names.complete_either)
@shared
@pass_options
def pause_command(options: Options, name: str) -> None:
    """Pause NAME, an agent or a project. A running model call or command is interrupted."""
    from actors.runtime.messages import Pause
    from actors.work import lifecycle

    def act(tx: Transaction, target: Agent | Project) -> str:
        if isinstance(target, Agent):
            lifecycle.control(tx, _with_turns(target), Pause(), now=time.time())
            return f"{target.name} will pause; `nightcrew resume {target.name}` continues it"
        lifecycle.pause(tx, target.name, now=time.time())
        return f"the project {target.name} is paused; `nightcrew resume {target.name}` continues it"

    _intervene(options, name, act)


@click.command("resume", short_help="Continue a paused or stopped agent or project.")
@click.argument("name", shell_complete=names.complete_either)
@shared
@pass_options
def resume_command(options: Options, name: str) -> None:
    """Continue NAME, an agent or a project."""
    from actors.runtime.messages import Resume
    from actors.work import lifecycle

    def act(tx: Transaction, target: Agent | Project) -> str:
        if isinstance(target, Agent):
            lifecycle.control(tx, _with_turns(target), Resume(), now=time.time())
            return f"{target.name} will continue"
        lifecycle.resume(tx, target.name, now=time.time())
        return f"the project {target.name} continues"

    _intervene(options, name, act)


@click.command("cancel", short_help="Cancel an agent's current turn, or end a project.")
@click.argument("name", shell_complete=names.complete_either)
@click.option(
    "--reason",
    default="cancelled by the human",
    show_default=True,
    help="The reason, for the agent and the report.",
)
@shared
@pass_options
def cancel_command(options: Options, name: str, reason: str) -> None:
    """Cancel the current turn of an agent, or end a project and stop its agents. Branches and worktrees are kept."""
    from actors.runtime.messages import CancelTurn
    from actors.work import lifecycle

    def act(tx: Transaction, target: Agent | Project) -> str:
        if isinstance(target, Agent):
            lifecycle.control(tx, _with_turns(target), CancelTurn(reason=reason), now=time.time())
            return f"{target.name} will cancel its turn"
        lifecycle.cancel(tx, target.name, reason=reason, now=time.time())
        return f"the project {target.name} is cancelled; merged work is on {target.branch}"

    _intervene(options, name, act)


@click.command("stop", short_help="Stop the processes of an agent or a project.")
@click.argument("name", shell_complete=names.complete_either)
@shared
@pass_options
def stop_command(options: Options, name: str) -> None:
    """Stop the processes of NAME, an agent or a project. `restart` starts them again, and work resumes."""
    from actors.work import lifecycle, team

    def act(tx: Transaction, target: Agent | Project) -> str:
        if isinstance(target, Agent):
            crew.change_agent(tx, target.name, wanted=False)
            team.notify_supervisor(tx, target.project, now=time.time())
        else:
            lifecycle.stop(tx, target.name, now=time.time())
        return f"{target.name} will stop; `nightcrew restart {target.name}` starts it again"

    _intervene(options, name, act)


@click.command("restart", short_help="Restart the processes of an agent or a project.")
@click.argument("name", shell_complete=names.complete_either)
@shared
@pass_options
def restart_command(options: Options, name: str) -> None:
    """Restart the processes of NAME, an agent or a project. Work resumes where it was; a quarantine ends."""
    from actors.work import lifecycle

    def act(tx: Transaction, target: Agent | Project) -> str:
        if isinstance(target, Agent):
            lifecycle.restart_agent(tx, target.name, now=time.time())
        else:
            lifecycle.restart(tx, target.name, now=time.time())
        return f"{target.name} will restart"

    _intervene(options, name, act)
