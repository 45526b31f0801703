"""Decides when and how often failed work is retried. The counts are stored, so a restart does not reset them.

Failures of git, the sandbox or the system under them (memory, processes, disk space, a lock) are usually
temporary. They are retried with a doubling pause for about ten minutes. Any other error is probably a fault
of our own code: it is retried three times within seconds. The actor handles other messages in the meantime.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

from actors.errors import InfrastructureError
from store import crew, facts, incidents
from store.engine import Store, Transaction
from store.facts import Fact
from store.rows import Message
from store.shared.backoff import Backoff
from store.states import IncidentKind

INFRASTRUCTURE = (InfrastructureError, OSError)
RETRIES = 11  # with PAUSES 607 s in all
PAUSES = Backoff(first_s=1.0, max_s=120.0, jitter=(0.75, 1.25))
BRIEF_RETRIES = 3
BRIEF_PAUSES = Backoff(first_s=0.5, max_s=8.0, factor=4.0, jitter=(0.75, 1.25))


@dataclass(frozen=True, slots=True)
class Retry:
    """The next attempt at one message, due at `due_at` (UTC seconds), and the failures in a row so far.

    `failures` counts infrastructure errors, `others` all other errors.
    """

    failures: int
    due_at: float
    others: int = 0

    def is_waiting(self, now: float) -> bool:
        """Whether the attempt is not due yet. It is due at once if the clock was set back by more than a pause."""
        return now < self.due_at <= now + PAUSES.longest_s


def next_retry(earlier: Retry | None, error: Exception, now: float, draw: float) -> Retry | None:
    """The next attempt after one more failure; None after the last. `draw` in [0, 1) sets the jitter."""
    failures, others = (0, 0) if earlier is None else (earlier.failures, earlier.others)
    if isinstance(error, INFRASTRUCTURE):
        failures += 1
        count, most, pauses = failures, RETRIES, PAUSES
    else:
        others += 1
        count, most, pauses = others, BRIEF_RETRIES, BRIEF_PAUSES
    if count > most:
        return None
    return Retry(failures, now + pauses.pause_s(count, draw), others)


class Retries:
    """The pending retries of one actor, by message. Stored as a fact that only this actor writes."""

    def __init__(self, store: Store, actor: str) -> None:
        self._actor = actor
        self._fact = Fact[dict[str, Any]](f"retries:{actor}")
        known = facts.get(store, self._fact) or {}
        self._pending = {int(message): Retry(**values) for message, values in known.items()}

    def pending(self, message: int) -> Retry | None:
        """The retry that is pending for a message, if its last attempt failed."""
        return self._pending.get(message)

    def after(self, message: int, error: Exception, now: float) -> Retry | None:
        """The next attempt after one more failure of this message; None after the last."""
        return next_retry(self.pending(message), error, now, random.random())

    def record(self, tx: Transaction, row: Message, retry: Retry, error: Exception, *, now: float) -> None:
        """Store the retry. The first infrastructure failure of a series is also recorded as an incident."""
        self._pending[row.id] = retry
        self._write(tx, now)
        if retry.failures == 1 and isinstance(error, INFRASTRUCTURE):
            agent = crew.find_agent(tx, self._actor)
            incidents.record(
                tx,
                IncidentKind.INFRASTRUCTURE_FAILED,
                now=now,
                agent=self._actor,
                project=None if agent is None else agent.project,
                error=f"{type(error).__name__}: {error}",
                message=row.id,
                task=row.task,
            )

    def drop(self, tx: Transaction, message: int, *, now: float) -> None:
        """Forget a message that succeeded or became a dead letter. Harmless if no retry was pending."""
        if self._pending.pop(message, None) is not None:
            self._write(tx, now)

    def next_due_at(self, now: float) -> float | None:
        """When the first pending retry is due, in UTC seconds; None if none is waiting."""
        return min((retry.due_at for retry in self._pending.values() if retry.is_waiting(now)), default=None)

    def _write(self, tx: Transaction, now: float) -> None:
        if self._pending:
            kept = {str(message): asdict(retry) for message, retry in self._pending.items()}
            facts.put(tx, self._fact, kept, now=now)
        else:
            facts.drop(tx, self._fact)
