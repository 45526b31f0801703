"""`inbox` and `letters`: what agents wrote to you, and messages that could not be handled."""

from __future__ import annotations

import time
from typing import Any

import click

from store.rows import Message
from supervisor.cli import output
from supervisor.cli.options import Options, pass_options, shared
from supervisor.errors import UsageProblem


@click.command("inbox", short_help="Show what agents wrote to you.")
@click.option(
    "-n",
    "--count",
    "most",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="Number of messages.",
)
@shared
@pass_options
def inbox_command(options: Options, most: int) -> None:
    """Show what agents wrote to you, the newest last. Messages are not marked as read."""
    from actors.runtime.addresses import HUMAN
    from store import inbox

    with options.store() as store:
        rows = list(reversed(inbox.listed(store, recipient=HUMAN, most=most)))
    if options.as_json:
        output.print_json([_as_json(row) for row in rows])
        return
    if not rows:
        click.echo("no messages")
    for row in rows:
        about = f" (reply to message {row.in_reply_to})" if row.in_reply_to else ""
        click.echo(f"{output.local(row.created_at)}  {row.sender}{about}: {output.plain(_text(row))}")


def _text(row: Message) -> str:
    """The text of a message; other kinds are shown with their values."""
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
    "letters",
    invoke_without_command=True,
    short_help="List dead letters: messages that could not be handled.",
)
@shared
@click.pass_context
def letters_command(context: click.Context) -> None:
    """List messages that failed three times. `letters retry ID` tries one again."""
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
        for line in output.table(("id", "failed", "from", "to", "kind", "error"), cells):
            click.echo(line)
        click.echo("try one again with `nightcrew letters retry ID`")


@letters_command.command("retry", short_help="Try a dead letter again, up to three times.")
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
        raise UsageProblem(f"message {letter_id} is not a dead letter; `nightcrew letters` lists them")
    if options.as_json:
        output.print_json({"id": letter_id, "to": row.recipient, "state": "ready"})
    else:
        click.echo(f"message {letter_id} is back in the mailbox of {row.recipient}")
