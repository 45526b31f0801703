"""The base of actors that handle one message after the other, each with one commit."""

from __future__ import annotations

from actors.errors import Interrupted, MessageUnexpected
from actors.runtime import messages
from actors.runtime.actor import Actor
from actors.runtime.context import Effects, Runtime
from actors.runtime.messages import AnyMessage
from store import inbox
from store.errors import StaleGeneration, StoreUnwritable
from store.failpoints import failpoint
from store.rows import Message


class MessageActor(Actor):
    """Claims each message, decodes it, calls `handle` and commits. An actor without messages keeps this `handle`."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        # Messages that were claimed but not finished, here or by an older incarnation, are handled first.
        self._has_open_claims = True

    def handle(self, message: AnyMessage, row: Message) -> Effects:
        """Do the work and return its effects, which commit together with the acknowledgement.

        It may run twice for one message (after a kill), so what it does outside the store must be idempotent.
        If it raises, the message is retried or becomes a dead letter (see `failures.py`).
        """
        raise MessageUnexpected(f"{self.runtime.name} does not handle {message.kind}")

    def on_unwritable(self) -> None:
        # The write may have failed before or after a claim, so read the claims from the store next time.
        self._has_open_claims = True

    def drain(self) -> None:
        """Handle messages until the mailbox is empty or the process is asked to stop."""
        if self._has_open_claims:
            self._has_open_claims = False
            for row in inbox.claimed(self.store, self.runtime.name):
                self._process_from(row)
        while (found := self._claim_first()) is not None:
            self._process_from(found)

    def _claim_first(self) -> Message | None:
        while not self.coupling.stopping.is_set():
            self.coupling.rearm()
            found = inbox.peek(self.store, self.runtime.name, now=self.now())
            if found is None:
                return None
            # Not durable: a power cut may undo the claim, but then everything that followed is undone as well.
            with self.write(durable=False) as tx:
                taken = inbox.claim(tx, found.id, generation=self.runtime.generation, now=self.now())
            if taken:
                failpoint("claimed")
                return found
        return None

    def _process_from(self, row: Message | None) -> None:
        """Process `row`, then each message that was claimed in the transaction that acknowledged the one before."""
        while row is not None:
            if self.coupling.stopping.is_set():
                self._has_open_claims = True
                return
            row = self._process(row)

    def _process(self, row: Message) -> Message | None:
        """Process one claimed message. Its effects and its acknowledgement are committed together, or it fails.

        The same transaction claims the next message, which is returned. So a message in a busy mailbox
        costs one transaction, and its actor queues for the writers' lock once.
        """
        try:
            effects = self.handle(messages.decode(row.body), row)
            failpoint("handled")
            self.coupling.rearm()
            with self.write() as tx:
                effects(tx)
                inbox.acknowledge(tx, row.id, now=self.now())
                self.failures.retries.drop(tx, row.id, now=self.now())
                following = inbox.claim_next(tx, self.runtime.name, self.runtime.generation, now=self.now())
            failpoint("acknowledged")
        except (StaleGeneration, StoreUnwritable):
            raise
        except Interrupted:
            self._has_open_claims = True
            return None
        except Exception as error:  # noqa: BLE001 - the actor's boundary: recorded, retried, then a dead letter
            self._has_open_claims = True
            self.failures.record(row, error)
            return None
        if following is not None:
            failpoint("claimed")
        return following
