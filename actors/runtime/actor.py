"""The base of every actor: its life on its own thread, from recovery to the end of the process.

Two threads share an actor's process. The main thread (`process.py`) turns wake-up datagrams, polls and
signals into `Wake` messages and sets the cancellation. The actor's thread does all the work.

A subclass says what there is to do in `drain`. Most handle one message after the other and derive from
`handler.MessageActor`; an agent works on a message in many steps and has a `drain` of its own.
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
        """Settle what an older incarnation left unfinished. Called before the first message."""

    @abc.abstractmethod
    def drain(self) -> None:
        """Work until there is nothing to do, or the process is asked to stop."""

    def tick(self) -> float:
        """Do what is due by the clock; called after each `drain`. Returns when to run next, in UTC seconds."""
        return self.now() + POLL_S

    def on_unwritable(self) -> None:
        """A write failed because the disk is full or read-only. Called before the pause."""

    def on_retry(self, tx: Transaction) -> None:
        """A message went back to the mailbox after a failure; part of the same transaction."""

    def on_dead_letter(self, tx: Transaction, row: Message, reason: str) -> None:
        """A message failed for the last time; part of the same transaction."""

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
            # A full disk is no fault of the message: wait. Nothing is acknowledged in the meantime.
            log.error("store_unwritable", reason=str(error))
            self.on_unwritable()
            self.coupling.sleep_until(self.now() + UNWRITABLE_PAUSE_S)
        finally:
            self.coupling.working = False

    def _take_over(self) -> None:
        """Make the claims of older incarnations this one's."""
        with self.write(durable=False) as tx:
            inbox.take_over(tx, self.runtime.name, self.runtime.generation)
            # An actor that was killed between its commit and its wake-ups leaves recipients asleep: wake them.
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
        """A transaction under this incarnation's fence; for `durable` see `Store.write`."""
        return self.store.write(self.runtime.fence, durable=durable)
