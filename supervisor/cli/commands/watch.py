"""`log`, `attach` and `completion`: watch the crew, and shell completion."""

from __future__ import annotations

import contextlib
import os

import click

from supervisor.cli import names, output
from supervisor.cli.options import Options, pass_options, shared
from supervisor.errors import UsageProblem

SHELLS = ("bash", "zsh", "fish")
_INSTALL = {
    "bash": "echo 'eval \"$(nightcrew completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(nightcrew completion zsh)\"' >> ~/.zshrc",
    "fish": "nightcrew completion fish > ~/.config/fish/completions/nightcrew.fish",
}


@click.command("log", short_help="Show the log of the crew or of one agent.")
@click.argument("agent", required=False, shell_complete=names.complete_agent)
@click.option("-f", "--follow", is_flag=True, help="Show new events until Ctrl-C.")
@click.option(
    "-n",
    "--count",
    "lines",
    type=click.IntRange(0, 100_000),
    default=50,
    show_default=True,
    help="Number of lines.",
)
@shared
@pass_options
def log_command(options: Options, agent: str | None, follow: bool, lines: int) -> None:
    """Show the log of the crew, of an agent, or of the `supervisor`. With --json as JSON lines.

    \b
    nightcrew log -f
    nightcrew log engineer-1 -n 200
    """
    from actors import log
    from actors.log.format import format_line
    from supervisor.cli import log_view

    home = options.home
    if agent is not None and agent != "supervisor":
        with options.store() as store:
            agent = names.agent(store, agent).name
    path = log.log_path(home.logs, agent)
    if not path.exists() and not follow:
        output.note(f"no log yet at {path}")
        return
    colour = output.is_terminal()
    with contextlib.suppress(KeyboardInterrupt):
        for line in log_view.follow([path], lines=lines, wait=follow):
            click.echo(line if options.as_json else format_line(line, colour=colour))


@click.command("attach", short_help="Watch the agents in tmux.")
@click.argument("agent", required=False, shell_complete=names.complete_agent)
@shared
@pass_options
def attach_command(options: Options, agent: str | None) -> None:
    """Open the tmux window of AGENT, or the last used session. C-b d leaves it; F2 writes to the agent.

    \b
    nightcrew attach
    nightcrew attach engineer-1
    """
    from actors.screen.attach import attach_argv

    name = None
    if agent is not None:
        with options.store() as store:
            name = names.agent(store, agent).name
    home = options.home
    home.make()
    how = attach_argv(home.run, name)
    if options.as_json:
        output.print_json({"argv": how.argv, "cwd": str(how.cwd)})
        return
    os.chdir(how.cwd)
    os.execvpe(how.argv[0], how.argv, how.environment)


@click.command("completion", short_help="Set up completion for bash, zsh or fish.")
@click.argument("shell", required=False, metavar="[bash|zsh|fish]")
@shared
@pass_options
def completion_command(options: Options, shell: str | None) -> None:
    """Print the completion script for a shell. Without an argument, print how to install it.

    \b
    eval "$(nightcrew completion bash)"
    """
    from click.shell_completion import get_completion_class

    from supervisor.cli import app

    if shell is None:
        if options.as_json:
            output.print_json({"install": _INSTALL})
            return
        for known, command in _INSTALL.items():
            click.echo(f"{known}:  {command}")
        return
    if shell not in SHELLS:
        raise UsageProblem(f"unknown shell {shell!r}; completion is available for {', '.join(SHELLS)}")
    made = get_completion_class(shell)
    assert made is not None
    script = made(app.nightcrew, {}, app.PROGRAM, app.COMPLETE_VARIABLE).source()
    if options.as_json:
        output.print_json({"shell": shell, "script": script, "install": _INSTALL[shell]})
    else:
        click.echo(script)
