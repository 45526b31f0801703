"""Patience with what actors work with: git, the sandbox and the system under both.

Want of memory, processes or room, a lock, a disk that is away: most of it passes by itself. So what failed for
such a reason is due again after a pause that doubles, and is given up after about ten minutes. How often it
has failed so far stands in the store, so that a restart begins no new count; nobody sleeps meanwhile.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, replace
from functools import cached_property

from actors import log
from actors.errors import InfrastructureError
from actors.runtime.actor import Actor
from store import crew, facts, inbox, incidents
from store.engine import Store, Transaction
from store.rows import Message
from store.shared.backoff import Backoff

INFRASTRUCTURE = (InfrastructureError, OSError)
RETRIES = 11  # with PAUSES 607 s in all
PAUSES = Backoff(first_s=1.0, max_s=120.0, jitter=(0.75, 1.25))
# After any other error: a fault in our own code does not pass.
BRIEF_RETRIES = 3
BRIEF_PAUSES = Backoff(first_s=0.5, max_s=8.0, factor=4.0, jitter=(0.75, 1.25))


@dataclass(frozen=True, slots=True)
class Setback:
    """One message's failures in a row: of `INFRASTRUCTURE`, and others; when it may be tried again, in UTC seconds."""

    failures: int
    due_at: float
    others: int = 0

    def waits(self, now: float) -> bool:
        """Whether it is too early; a clock that was set back must not make it hours."""
        return now < self.due_at <= now + PAUSES.longest_s


def next_setback(earlier: Setback | None, error: Exception, now: float, lot: float) -> Setback | None:
    """What follows from one more failure; None if that was the last. `lot` in [0, 1) is the jitter."""
    failures, others = (0, 0) if earlier is None else (earlier.failures, earlier.others)
    if isinstance(error, INFRASTRUCTURE):
        failures += 1
        count, most, pauses = failures, RETRIES, PAUSES
    else:
        others += 1
        count, most, pauses = others, BRIEF_RETRIES, BRIEF_PAUSES
    if count > most:
        return None
    return Setback(failures, now + pauses.pause_s(count, lot), others)


class Setbacks:
    """An actor's, by message; a fact in the store, of which only the actor itself writes its own."""

    def __init__(self, store: Store, actor: str) -> None:
        self._actor = actor
        self._fact = f"setbacks:{actor}"
        known = facts.get(store, self._fact) or {}
        self._of = {int(message): Setback(**values) for message, values in known.items()}

    def of(self, message: int) -> Setback | None:
        return self._of.get(message)

    def record(
        self, tx: Transaction, row: Message, setback: Setback, error: Exception, *, now: float
    ) -> None:
        """Keep it, with an incident for the first of a series that says what failed."""
        self._of[row.id] = setback
        self._write(tx, now)
        if setback.failures == 1 and isinstance(error, INFRASTRUCTURE):
            agent = crew.find_agent(tx, self._actor)
            incidents.record(
                tx,
                "infrastructure_failed",
                now=now,
                agent=self._actor,
                project=None if agent is None else agent.project,
                error=f"{type(error).__name__}: {error}",
                message=row.id,
                task=row.body.get("task"),
            )

    def drop(self, tx: Transaction, message: int, *, now: float) -> None:
        """It went well, or was given up; harmless if nothing had failed."""
        if self._of.pop(message, None) is not None:
            self._write(tx, now)

    def next_due_at(self, now: float) -> float | None:
        """When the first that waits may be tried again."""
        return min((setback.due_at for setback in self._of.values() if setback.waits(now)), default=None)

    def _write(self, tx: Transaction, now: float) -> None:
        if self._of:
            kept = {str(message): asdict(setback) for message, setback in self._of.items()}
            facts.put(tx, self._fact, kept, now=now)
        else:
            facts.drop(tx, self._fact)


class PatientActor(Actor):
    """An actor whose messages outlast a failure of git, the sandbox or the system."""

    @cached_property
    def setbacks(self) -> Setbacks:
        """Read from the store on first use, on the actor's thread."""
        return Setbacks(self.store, self.runtime.name)

    def next_setback(self, row: Message, error: Exception) -> Setback | None:
        """As the function of that name, by this actor's clock."""
        return next_setback(self.setbacks.of(row.id), error, self.now(), random.random())

    def record_failure(self, row: Message, error: Exception, *, final: bool = False) -> None:
        """As for every actor, but a message that met such a failure is due again later, for ten minutes."""
        patient = not final and isinstance(error, INFRASTRUCTURE)
        setback = self.next_setback(row, error) if patient else None
        if setback is None:
            super().record_failure(row, error, final=final or patient)
            return
        log.warning("message_put_off", exception=error, message=row.id, failures=setback.failures)
        with self.write() as tx:
            # Its own three attempts are for failures of another kind: none of them is used up.
            kept = replace(row, attempts=row.attempts - 1)
            inbox.record_failure(tx, kept, error=f"{type(error).__name__}: {error}", now=setback.due_at)
            self.setbacks.record(tx, row, setback, error, now=self.now())
            self.on_put_off(tx)

    def on_put_off(self, tx: Transaction) -> None:
        """For subclasses: a message goes back to the mailbox until it is due."""

    def tell_of_dead_letter(self, tx: Transaction, row: Message, reason: str) -> None:
        super().tell_of_dead_letter(tx, row, reason)
        self.setbacks.drop(tx, row.id, now=self.now())
