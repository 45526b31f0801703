"""`send` and `prompt`: write to an agent."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from store.errors import NightcrewError
from supervisor.cli import names, output
from supervisor.cli.options import Options, pass_options, shared
from supervisor.errors import NotRunning, UsageProblem

if TYPE_CHECKING:
    from store.engine import Store
    from store.rows import Message

PRIORITIES = ("low", "normal", "high", "urgent")
POLL_S = 0.05


class NoAnswer(NightcrewError):
    """The agent did not answer in time, or its message failed."""


@click.command("send", short_help="Send a message to an agent.")
@click.argument("agent", shell_complete=names.complete_agent)
@click.argument("text")
@click.option("--wait", is_flag=True, help="Wait for the answer and print it.")
@click.option(
    "--timeout",
    "timeout_s",
    type=float,
    default=600.0,
    show_default=True,
    metavar="S",
    help="Seconds to wait with --wait.",
)
@click.option(
    "--priority",
    type=click.Choice(PRIORITIES),
    default="high",
    show_default=True,
    help="`urgent` interrupts what the agent is doing.",
)
@click.option("--key", metavar="KEY", help="Idempotency key: a second message with the same key is not sent.")
@shared
@pass_options
def send_command(
    options: Options, agent: str, text: str, wait: bool, timeout_s: float, priority: str, key: str | None
) -> None:
    """Put TEXT into AGENT's mailbox. `-` reads the text from standard input.

    The message is stored when the command returns, and the agent reads it between two steps.

    \b
    nightcrew send pm "Which deliverable is next?" --wait
    nightcrew send engineer-1.shop "Use the existing helper." --priority high
    nightcrew send shop:engineer-1 - < notes.txt
    """
    if text == "-":
        text = sys.stdin.read()
    if not text.strip():
        raise UsageProblem("the text is empty; nothing was sent")
    with options.store() as store:
        name = names.agent(store, agent).name
        alive = _supervisor_runs(options)
        if wait and not alive:
            raise NotRunning(
                "the crew is not running, so no agent would answer; nothing was sent. Run `nightcrew up` first"
            )
        message = post_text(store, name, text, priority=priority, key=key)
        answer = _await_answer(store, options, message, name, timeout_s) if wait else None
        _print_sent(options, store, message, name, answer, alive=alive)


def post_text(store: Store, name: str, text: str, *, priority: str = "high", key: str | None = None) -> int:
    """Send a message from the user; returns its id."""
    from actors.runtime import mailbox
    from actors.runtime.addresses import HUMAN, Priority

    return mailbox.send_text(
        store, HUMAN, name, text, now=time.time(), priority=Priority[priority.upper()], key=key
    )


def _supervisor_runs(options: Options) -> bool:
    from supervisor.health import status

    return status.holder(options.home) is not None


def _print_sent(
    options: Options, store: Store, message: int, name: str, answer: Message | None, *, alive: bool
) -> None:
    from store import inbox

    if options.as_json:
        row = inbox.get(store, message)
        result: dict[str, Any] = {"id": message, "to": name, "state": None if row is None else row.state}
        if answer is not None:
            result["answer"] = answer.text
        output.print_json(result)
    elif answer is not None:
        click.echo(output.plain(answer.text))
    else:
        click.echo(f"message {message} is in the mailbox of {name}")
        if not alive:
            output.note("the crew is not running; the message will be read after `nightcrew up`")


def _await_answer(store: Store, options: Options, message: int, name: str, timeout_s: float) -> Message:
    """The agent's answer to `message`. Raises `NoAnswer` or `NotRunning`."""
    from actors.runtime.addresses import HUMAN
    from store import inbox
    from store.states import MessageState

    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        row = inbox.get(store, message)
        if row is not None and row.state in (MessageState.DEAD, MessageState.CANCELLED):
            raise NoAnswer(f"message {message} to {name} failed: {row.error}")
        for reply in inbox.replies(store, message):
            if reply.recipient == HUMAN and reply.kind == "text":
                return reply
        if not _supervisor_runs(options):
            raise NotRunning(
                f"the supervisor ended before {name} answered; message {message} is kept. "
                "`nightcrew up` resumes, and `nightcrew inbox` shows the answer"
            )
        time.sleep(POLL_S)
    raise NoAnswer(
        f"{name} has not answered message {message} within {timeout_s:g} s; the message is kept, and the "
        f"answer will be in `nightcrew inbox`. See what it is doing with `nightcrew info {name}`"
    )


@click.command("prompt", hidden=True, short_help="Read one line and send it; used by the key F2 in tmux.")
@click.argument("agent", shell_complete=names.complete_agent)
@shared
@pass_options
def prompt_command(options: Options, agent: str) -> None:
    """Read one line and send it to AGENT. An empty line sends nothing."""
    with options.store() as store:
        name = names.agent(store, agent).name
        text = _read_line(f"to {name}> ")
        if not text.strip():
            output.note("nothing was sent")
            return
        message = post_text(store, name, text, priority="high")
        _print_sent(options, store, message, name, None, alive=_supervisor_runs(options))


def _read_line(question: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline()
    from prompt_toolkit import prompt

    try:
        return prompt(question)
    except EOFError:
        return ""
