"""The base of every actor: a `pykka.ThreadingActor` fed from its durable mailbox.

Two threads share an actor's process. The main thread pumps (`process.py`): it turns wakes, polls and
signals into `Wake` messages and sets the interrupt. The actor's thread does all the work here:
claim, decode, handle, and one transaction with the acknowledgement and every effect.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import pykka

from actors import log
from actors.errors import Interrupted, MessageUndecodable, MessageUnexpected
from actors.home import Home
from actors.runtime import mailbox, messages
from actors.runtime.addresses import HUMAN, Priority
from actors.runtime.messages import AnyMessage, DeadLetter
from actors.runtime.signals import SignalPipe
from actors.runtime.wake import Waker
from actors.settings import Config
from store import inbox, incidents
from store.engine import Fence, Store, Transaction
from store.errors import StaleGeneration, StoreUnwritable
from store.failpoints import failpoint
from store.rows import Message
from store.states import MessageState

Effects = Callable[[Transaction], None]
POLL_S = 20.0  # the fallback for a lost wake; 100 idle agents cost 0.3 % of a core at this rate
UNWRITABLE_PAUSE_S = 2.0
EXIT_CRASHED = 70


@dataclass(frozen=True, slots=True)
class Wake:
    """For the actor's thread: look into the mailbox."""


@dataclass(frozen=True, slots=True)
class Recover:
    """For the actor's thread, asked once before it counts as ready."""


@dataclass(slots=True)
class Coupling:
    """What the two threads of an actor's process share: the pump's ways to reach a running step."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    stopping: threading.Event = field(default_factory=threading.Event)
    working: bool = False  # the actor's thread has begun to look into the mailbox and has not ended
    look_again_at: float = 0.0  # UTC seconds: when the actor wants its next look, if nothing wakes it before
    pump: SignalPipe | None = None  # a wake has the pump read these fields again

    def stop(self) -> None:
        """Ask for the end; stays set. A second stop is harmless."""
        self.stopping.set()
        self.cancelled.set()
        self.nudge()

    def sleep_until(self, at: float) -> None:
        """The actor has done what there was: its next look is at `at`, UTC seconds."""
        self.look_again_at = at
        self.nudge()

    def nudge(self) -> None:
        """Have the pump see what changed here; it may be asleep on an older plan."""
        if self.pump is not None:
            self.pump.wake()

    def rearm(self) -> None:
        """Before a look at the mailbox: what was urgent is about to be seen."""
        self.cancelled.clear()
        if self.stopping.is_set():
            self.cancelled.set()


@dataclass(frozen=True, slots=True)
class Runtime:
    """What an actor is given by its process: identity, store, configuration and ways out."""

    name: str
    generation: int
    home: Home
    config: Config
    store: Store
    waker: Waker
    coupling: Coupling = field(default_factory=Coupling)
    clock: Callable[[], float] = time.time

    @property
    def fence(self) -> Fence:
        return Fence(self.name, self.generation)


class Actor(pykka.ThreadingActor):
    """Claim, decode, handle, commit. Subclasses write `handle`, and `tick` if they work by the clock."""

    use_daemon_thread = True

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.runtime = runtime
        self.store = runtime.store
        self.coupling = runtime.coupling
        # Claimed and not ended, by an older incarnation or by this one: looked up before anything new is taken.
        self._left_open = True

    # -- for subclasses ------------------------------------------------------------------------

    def recover(self) -> None:
        """Before the first message, on the actor's thread: settle what an older incarnation left."""

    def handle(self, message: AnyMessage, row: Message) -> Effects:
        """Do the work and return its effects; they commit together with the acknowledgement.

        May run twice for one message (after a kill), so what it does outside the store must be
        idempotent. Raises to have the message tried again; the third time makes it a dead letter.
        """
        raise MessageUnexpected(f"{self.runtime.name} does not handle {message.kind}")

    def tick(self) -> float:
        """Work by the clock, after each drained mailbox; returns when to look again, in UTC seconds."""
        return self.now() + POLL_S

    # -- the loop ------------------------------------------------------------------------------

    def on_receive(self, message: Any) -> Any:
        """Runs on the actor's thread: `Recover` once, then `Wake`s."""
        if isinstance(message, Recover):
            with self.write(durable=False) as tx:
                inbox.take_over(tx, self.runtime.name, self.runtime.generation)
                # Whoever was killed between its commit and its wakes: those it wrote to need not wait for a poll.
                for recipient in inbox.recipients_waiting(tx, now=self.now()):
                    tx.notify(recipient)
            self.recover()
            return
        self.coupling.working = True
        try:
            self.drain()
            self.coupling.sleep_until(min(self.tick(), self._next_try_at()))
        except StaleGeneration as error:
            log.warning("stale_generation", reason=str(error))
            self.coupling.stop()
        except StoreUnwritable as error:
            # A full disk is nobody's fault here: wait it out, nothing is acknowledged meanwhile.
            log.error("store_unwritable", reason=str(error))
            # Whether it came before or after a claim is not known here: the next look asks the store.
            self._left_open = True
            self.coupling.sleep_until(self.now() + UNWRITABLE_PAUSE_S)
        finally:
            self.coupling.working = False

    def _next_try_at(self) -> float:
        """When a message that failed may be tried again, far away when there is none."""
        now = self.now()
        due_at = inbox.next_ready_at(self.store, self.runtime.name, now=now)
        return now + POLL_S if due_at is None else due_at

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing in here can go on: end the process, its supervisor starts a new one."""
        log.error("actor_crashed", reason=f"{exception_value!r}")
        os._exit(EXIT_CRASHED)

    def drain(self) -> None:
        """Work until the mailbox is empty or the process is asked to stop."""
        if self._left_open:
            self._left_open = False
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
            # After a power cut it is ready again, and nothing that followed from the claim is there either.
            with self.write(durable=False) as tx:
                taken = inbox.claim(tx, found.id, generation=self.runtime.generation, now=self.now())
            if taken:
                failpoint("claimed")
                return found
        return None

    def _process_from(self, row: Message | None) -> None:
        """This claimed message and those that are claimed with the acknowledgement of the one before."""
        while row is not None:
            if self.coupling.stopping.is_set():
                self._left_open = True
                return
            row = self.process(row)

    def process(self, row: Message) -> Message | None:
        """One claimed message: its effects and its acknowledgement commit together, or it has failed.

        With them goes the claim of the next one, which is returned: in a busy mailbox a message costs one
        transaction, and its writer queues for the lock once.
        """
        following = None
        try:
            effects = self.handle(messages.decode(row.body), row)
            failpoint("handled")
            self.coupling.rearm()
            with self.write() as tx:
                effects(tx)
                inbox.acknowledge(tx, row.id, now=self.now())
                following = inbox.claim_next(tx, self.runtime.name, self.runtime.generation, now=self.now())
            failpoint("acknowledged")
        except (StaleGeneration, StoreUnwritable):
            raise
        except Interrupted:
            self._left_open = True
            return None
        except Exception as error:  # noqa: BLE001 - the actor's boundary: recorded, retried, then a dead letter
            self._left_open = True
            self.record_failure(row, error)
            return None
        if following is not None:
            failpoint("claimed")
        return following

    def record_failure(self, row: Message, error: Exception, *, final: bool = False) -> None:
        """Count the failure; the third (or a `final` one) makes a dead letter, sender and human are told."""
        reason = f"{type(error).__name__}: {error}"
        log.error("message_failed", exception=error, message=row.id, kind=row.kind, attempts=row.attempts + 1)
        # A body that cannot be decoded today cannot be tomorrow: no use in trying thrice.
        final = final or isinstance(error, MessageUndecodable)
        counted = replace(row, attempts=inbox.ATTEMPTS - 1) if final else row
        with self.write() as tx:
            state = inbox.record_failure(tx, counted, error=reason, now=self.now())
            if state is MessageState.DEAD:
                self.tell_of_dead_letter(tx, row, reason)

    def tell_of_dead_letter(self, tx: Transaction, row: Message, reason: str) -> None:
        """Nothing dies silently: an incident, and a message to the sender and to the human."""
        now = self.now()
        incidents.record(
            tx,
            "dead_letter",
            now=now,
            agent=self.runtime.name,
            needs_human=True,
            message=row.id,
            error=reason,
        )
        letter = DeadLetter(message=row.id, recipient=row.recipient, error=reason)
        # A dead letter about a dead letter would go round for ever.
        for recipient in {row.sender, HUMAN} if row.kind != "dead_letter" else {HUMAN}:
            mailbox.post(
                tx,
                self.runtime.name,
                recipient,
                letter,
                now=now,
                priority=Priority.HIGH,
                key=f"dead:{row.id}:{recipient}",
                in_reply_to=row.id,
            )

    # -- small helpers -------------------------------------------------------------------------

    def now(self) -> float:
        """UTC seconds, from the runtime's clock."""
        return self.runtime.clock()

    def write(self, *, durable: bool = True) -> AbstractContextManager[Transaction]:
        """A transaction under this incarnation's fence; `durable` as in `Store.write`."""
        return self.store.write(self.runtime.fence, durable=durable)


def nothing(_tx: Transaction) -> None:
    """The effects of a message that needs none."""
