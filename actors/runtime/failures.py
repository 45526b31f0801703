"""Handles the failure of a message: it is retried later, or becomes a dead letter.

| failure                                           | before it becomes a dead letter                |
|---------------------------------------------------|------------------------------------------------|
| infrastructure error (see `retries.py`)           | 11 retries within about ten minutes            |
| a message that cannot be decoded                  | no retry, because the result would be the same |
| a kind of message that this actor does not handle | no retry                                       |
| any other error                                   | three attempts in all, with short pauses       |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

from actors import log
from actors.errors import MessageUndecodable, MessageUnexpected
from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN, Priority
from actors.runtime.context import Runtime
from actors.runtime.messages import DeadLetter
from actors.runtime.retries import INFRASTRUCTURE, Retries
from store import inbox, incidents
from store.engine import Transaction
from store.rows import Message
from store.states import IncidentKind, MessageState


class Failures:
    """Records the failures of one actor's messages. The hooks run in the transaction that records the failure."""

    def __init__(
        self,
        runtime: Runtime,
        on_retry: Callable[[Transaction], None],
        on_dead_letter: Callable[[Transaction, Message, str], None],
    ) -> None:
        self._runtime = runtime
        self._on_retry = on_retry
        self._on_dead_letter = on_dead_letter

    @cached_property
    def retries(self) -> Retries:
        """Read from the store on first use, on the actor's thread."""
        return Retries(self._runtime.store, self._runtime.name)

    def record(self, row: Message, error: Exception, *, final: bool = False) -> None:
        """Retry the message later, or, after the last attempt or if `final`, make it a dead letter."""
        if not final and isinstance(error, INFRASTRUCTURE):
            if self._retry_later(row, error):
                return
            final = True
        final = final or isinstance(error, MessageUndecodable | MessageUnexpected)
        reason = _reason(error)
        log.error("message_failed", exception=error, message=row.id, kind=row.kind, attempts=row.attempts + 1)
        counted = replace(row, attempts=inbox.ATTEMPTS - 1) if final else row
        with self._runtime.store.write(self._runtime.fence) as tx:
            state = inbox.record_failure(tx, counted, error=reason, now=self._runtime.clock())
            if state is MessageState.DEAD:
                self._report_dead_letter(tx, row, reason)

    def _retry_later(self, row: Message, error: Exception) -> bool:
        """Put the message back until its next attempt is due. False if there have been enough attempts."""
        now = self._runtime.clock()
        retry = self.retries.after(row.id, error, now)
        if retry is None:
            return False
        log.warning("message_put_off", exception=error, message=row.id, failures=retry.failures)
        with self._runtime.store.write(self._runtime.fence) as tx:
            # The three attempts are for other errors; this failure uses up none of them.
            kept = replace(row, attempts=row.attempts - 1)
            inbox.record_failure(tx, kept, error=_reason(error), now=retry.due_at)
            self.retries.record(tx, row, retry, error, now=now)
            self._on_retry(tx)
        return True

    def _report_dead_letter(self, tx: Transaction, row: Message, reason: str) -> None:
        """Record an incident and notify the sender and the human."""
        now = self._runtime.clock()
        incidents.record(
            tx,
            IncidentKind.DEAD_LETTER,
            now=now,
            agent=self._runtime.name,
            needs_human=True,
            message=row.id,
            error=reason,
        )
        letter = DeadLetter(message=row.id, recipient=row.recipient, error=reason)
        # A dead letter about a dead letter goes to the human only, or two actors could send them for ever.
        for recipient in {row.sender, HUMAN} if row.kind != "dead_letter" else {HUMAN}:
            mailbox.post(
                tx,
                self._runtime.name,
                recipient,
                letter,
                now=now,
                priority=Priority.HIGH,
                key=f"dead:{row.id}:{recipient}",
                in_reply_to=row.id,
            )
        self.retries.drop(tx, row.id, now=now)
        self._on_dead_letter(tx, row, reason)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
