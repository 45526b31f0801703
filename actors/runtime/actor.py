"""The base class of every actor. It runs on its own thread, from recovery to the end of the process.

Two threads share an actor's process. The main thread (`process.py`) turns wake-up datagrams, polls and
signals into `Wake` messages and sets the cancellation. The actor's thread does all the work.

A subclass does its work in `drain`. Most actors handle one message after the other and derive from
`handler.MessageActor`. An agent works on a message in many steps and has its own `drain`.
"""

from __future__ import annotations

import abc
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import pykka

from actors import log
from actors.runtime.context import Runtime
from actors.runtime.failures import Failures
from store import inbox
from store.engine import Transaction
from store.errors import StaleGeneration, StoreUnwritable
from store.rows import Message

POLL_S = 20.0  # finds messages whose wake-up was lost; 100 idle agents cost 0.3 % of a core at this rate
UNWRITABLE_PAUSE_S = 2.0
EXIT_CRASHED = 70


@dataclass(frozen=True, slots=True)
class Wake:
    """Sent to the actor's thread: there may be something to do."""


@dataclass(frozen=True, slots=True)
class Recover:
    """Sent to the actor's thread once, before it counts as ready."""


class Actor(pykka.ThreadingActor, abc.ABC):
    """One actor. All methods run on the actor's thread."""

    use_daemon_thread = True

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.runtime = runtime
        self.store = runtime.store
        self.coupling = runtime.coupling
        self.failures = Failures(runtime, self.on_retry, self.on_dead_letter)

    # -- hooks for subclasses ------------------------------------------------------------------

    def recover(self) -> None:
        """Settle the work that an older incarnation left unfinished: find out what was done, and continue or undo it.

        Called before the first message.
        """

    @abc.abstractmethod
    def drain(self) -> None:
        """Work until nothing is left to do, or the process is asked to stop."""

    def tick(self) -> float:
        """Do work that is due at a time; called after each `drain`. Returns when to run next, in UTC seconds."""
        return self.now() + POLL_S

    def on_unwritable(self) -> None:
        """Called before the pause after a write that failed because the disk is full or read-only."""

    def on_retry(self, tx: Transaction) -> None:
        """Called when a message returns to the mailbox after a failure, in the same transaction."""

    def on_dead_letter(self, tx: Transaction, row: Message, reason: str) -> None:
        """Called when a message becomes a dead letter, in the same transaction."""

    # -- life ----------------------------------------------------------------------------------

    def on_receive(self, message: Any) -> Any:
        """Handle `Recover` once, then every `Wake`."""
        if isinstance(message, Recover):
            self._take_over()
            self.recover()
            return
        self.coupling.working = True
        try:
            self.drain()
            self.coupling.sleep_until(min(self.tick(), self._next_retry_at()))
        except StaleGeneration as error:
            log.warning("stale_generation", reason=str(error))
            self.coupling.stop()
        except StoreUnwritable as error:
            # A full disk is not the message's fault, so wait. No message is acknowledged in the meantime.
            log.error("store_unwritable", reason=str(error))
            self.on_unwritable()
            self.coupling.sleep_until(self.now() + UNWRITABLE_PAUSE_S)
        finally:
            self.coupling.working = False

    def _take_over(self) -> None:
        """Assign the claims of older incarnations to this one."""
        with self.write(durable=False) as tx:
            inbox.take_over(tx, self.runtime.name, self.runtime.generation)
            # An actor that was killed between its commit and its wake-ups has not woken its recipients: wake them.
            for recipient in inbox.recipients_waiting(tx, now=self.now()):
                tx.notify(recipient)

    def _next_retry_at(self) -> float:
        """When the next failed message may be tried again; at the latest the next poll."""
        now = self.now()
        due_at = inbox.next_ready_at(self.store, self.runtime.name, now=now)
        return now + POLL_S if due_at is None else due_at

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Called by pykka for an unhandled exception: end the process. The supervisor starts a new one."""
        log.error("actor_crashed", reason=f"{exception_value!r}")
        os._exit(EXIT_CRASHED)

    # -- helpers -------------------------------------------------------------------------------

    def now(self) -> float:
        """UTC seconds, from the runtime's clock."""
        return self.runtime.clock()

    def write(self, *, durable: bool = True) -> AbstractContextManager[Transaction]:
        """A transaction with this incarnation's fencing token; for `durable` see `Store.write`."""
        return self.store.write(self.runtime.fence, durable=durable)
