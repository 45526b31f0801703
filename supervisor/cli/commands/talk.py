"""Writing to agents and reading what they write to you."""

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
    """The agent has not answered in time, or will not."""


@click.command("send", short_help="Write to an agent; --wait prints its answer.")
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
    help="With --wait: seconds.",
)
@click.option(
    "--priority",
    type=click.Choice(PRIORITIES),
    default="high",
    show_default=True,
    help="From urgent on, the agent is interrupted in what it is doing.",
)
@click.option("--key", metavar="KEY", help="Idempotency: the same key again sends nothing new.")
@shared
@pass_options
def send_command(
    options: Options, agent: str, text: str, wait: bool, timeout_s: float, priority: str, key: str | None
) -> None:
    """Put TEXT (- reads it from stdin) into AGENT's mailbox, for good: it is there when this returns.

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
                "no supervisor runs, so nobody would answer; nothing was sent. `nightcrew up` first"
            )
        message = post_text(store, name, text, priority=priority, key=key)
        answer = _await_answer(store, options, message, name, timeout_s) if wait else None
        _print_sent(options, store, message, name, answer, alive=alive)


def post_text(store: Store, name: str, text: str, *, priority: str = "high", key: str | None = None) -> int:
    """One message from the human; returns its id."""
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
            result["answer"] = answer.body.get("text", "")
        output.print_json(result)
    elif answer is not None:
        click.echo(output.plain(str(answer.body.get("text", ""))))
    else:
        click.echo(f"message {message} is in the mailbox of {name}")
        if not alive:
            output.note("no supervisor runs: it will be read after `nightcrew up`")


def _await_answer(store: Store, options: Options, message: int, name: str, timeout_s: float) -> Message:
    """The agent's answer to `message`. Raises `NoAnswer` or `NotRunning`."""
    from actors.runtime.addresses import HUMAN
    from store import inbox
    from store.states import MessageState

    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        row = inbox.get(store, message)
        if row is not None and row.state in (MessageState.DEAD, MessageState.CANCELLED):
            raise NoAnswer(f"message {message} to {name} was given up: {row.error}")
        for reply in inbox.replies(store, message):
            if reply.recipient == HUMAN and reply.kind == "text":
                return reply
        if not _supervisor_runs(options):
            raise NotRunning(
                f"the supervisor has ended while {name} was to answer; message {message} stays. "
                "`nightcrew up` goes on, `nightcrew inbox` shows the answer"
            )
        time.sleep(POLL_S)
    raise NoAnswer(
        f"{name} has not answered message {message} within {timeout_s:g} s; it stays in its mailbox, and the "
        f"answer will be in `nightcrew inbox`. `nightcrew info {name}` shows what it is doing"
    )


@click.command("prompt", hidden=True, short_help="Read one line and send it: what the tmux key opens.")
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


@click.command("inbox", short_help="What agents wrote to you, newest last.")
@click.option(
    "-n", "--count", "most", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many."
)
@shared
@pass_options
def inbox_command(options: Options, most: int) -> None:
    """Show what agents wrote to you. Reading marks nothing, and nothing waits for your answer for ever."""
    from actors.runtime.addresses import HUMAN
    from store import inbox

    with options.store() as store:
        rows = list(reversed(inbox.listed(store, recipient=HUMAN, most=most)))
    if options.as_json:
        output.print_json([_as_json(row) for row in rows])
        return
    if not rows:
        click.echo("nobody has written to you")
    for row in rows:
        about = f" (on message {row.in_reply_to})" if row.in_reply_to else ""
        click.echo(f"{output.local(row.created_at)}  {row.sender}{about}: {output.plain(_said(row))}")


def _said(row: Message) -> str:
    """A message's body in words."""
    body = row.body
    if row.kind == "text":
        return str(body.get("text", ""))
    rest = ", ".join(f"{key} {value}" for key, value in body.items() if key not in ("kind", "v"))
    return f"{row.kind.replace('_', ' ')}: {rest}"


def _as_json(row: Message) -> dict[str, Any]:
    return {
        "id": row.id,
        "from": row.sender,
        "to": row.recipient,
        "kind": row.kind,
        "body": row.body,
        "state": row.state,
        "attempts": row.attempts,
        "in_reply_to": row.in_reply_to,
        "error": row.error,
        "created_at": output.iso(row.created_at),
        "handled_at": output.iso(row.handled_at),
    }


@click.group(
    "letters", invoke_without_command=True, short_help="Dead letters: messages that failed for good."
)
@shared
@click.pass_context
def letters_command(context: click.Context) -> None:
    """Messages that failed three times. `letters retry ID` gives one three fresh attempts."""
    if context.invoked_subcommand is None:
        _list_letters(context.ensure_object(Options))


def _list_letters(options: Options) -> None:
    from store import inbox
    from store.states import MessageState

    with options.store() as store:
        rows = list(reversed(inbox.listed(store, state=MessageState.DEAD)))
    if options.as_json:
        output.print_json([_as_json(row) for row in rows])
    elif not rows:
        click.echo("no dead letters")
    else:
        cells = [
            (
                row.id,
                output.local(row.handled_at),
                row.sender,
                row.recipient,
                row.kind,
                row.error,
            )
            for row in rows
        ]
        for line in output.table(("id", "died", "from", "to", "kind", "error"), cells):
            click.echo(line)
        click.echo("`nightcrew letters retry ID` tries one again")


@letters_command.command("retry", short_help="Give a dead letter three fresh attempts.")
@click.argument("letter_id", metavar="ID", type=int)
@shared
@pass_options
def retry_command(options: Options, letter_id: int) -> None:
    """Put the dead letter ID back into its mailbox."""
    from store import inbox

    with options.store() as store:
        row = inbox.get(store, letter_id)
        with store.write() as tx:
            revived = inbox.revive(tx, letter_id, now=time.time())
            if revived and row is not None:
                tx.notify(row.recipient)
    if row is None or not revived:
        raise UsageProblem(f"message {letter_id} is no dead letter; `nightcrew letters` lists them")
    if options.as_json:
        output.print_json({"id": letter_id, "to": row.recipient, "state": "ready"})
    else:
        click.echo(f"message {letter_id} is in the mailbox of {row.recipient} again")
