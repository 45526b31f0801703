"""Durable check-ins. When a recurrence is due is computed in `actors/timer.py`; here are the rows.

ACTIVE + fired, one-shot  -> FIRED
ACTIVE + fired, recurring -> ACTIVE   (with the next due time)
ACTIVE + cancelled        -> CANCELLED
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, update

from store.engine import Store, Transaction
from store.schema import timers
from store.states import TimerState


@dataclass(frozen=True, slots=True)
class Timer:
    """`due_at` in UTC seconds; `every_s` or `cron` (with `timezone`) make it recur."""

    id: int
    recipient: str
    note: str
    due_at: float
    every_s: float | None
    cron: str | None
    timezone: str | None
    created_by: str
    fired_count: int


_COLUMNS = (
    timers.c.id,
    timers.c.recipient,
    timers.c.note,
    timers.c.due_at,
    timers.c.every_s,
    timers.c.cron,
    timers.c.timezone,
    timers.c.created_by,
    timers.c.fired_count,
)


def add(
    tx: Transaction,
    *,
    recipient: str,
    note: str,
    due_at: float,
    created_by: str,
    now: float,
    every_s: float | None = None,
    cron: str | None = None,
    timezone: str | None = None,
    key: str | None = None,
) -> int:
    """Add a timer and return its id; the same `key` again returns the first one's."""
    if key is not None:
        known = tx.execute(select(timers.c.id).where(timers.c.key == key)).scalar()
        if known is not None:
            return int(known)
    added = tx.add(
        insert(timers),
        {
            "recipient": recipient,
            "note": note,
            "state": TimerState.ACTIVE.value,
            "due_at": due_at,
            "every_s": every_s,
            "cron": cron,
            "timezone": timezone,
            "key": key,
            "created_by": created_by,
            "created_at": now,
            "fired_count": 0,
        },
    )
    tx.notify("timer")
    return added


def due(store: Store, now: float) -> list[Timer]:
    """Active timers whose time has come, the most overdue first."""
    query = (
        select(*_COLUMNS)
        .where(timers.c.state == TimerState.ACTIVE.value, timers.c.due_at <= now)
        .order_by(timers.c.due_at)
    )
    return [Timer(**row) for row in store.rows(query)]


def next_due_at(store: Store) -> float | None:
    """When the next active timer is due, in UTC seconds."""
    row = store.row(
        select(func.min(timers.c.due_at).label("due_at")).where(timers.c.state == TimerState.ACTIVE.value)
    )
    return None if row is None else row["due_at"]


def record_fired(tx: Transaction, timer: Timer, *, now: float, next_due_at: float | None) -> bool:
    """Note that it fired; False if it was cancelled or fired meanwhile (then nothing may be sent)."""
    values: dict[str, Any] = {"fired_at": now, "fired_count": timer.fired_count + 1}
    if next_due_at is None:
        values["state"] = TimerState.FIRED.value
    else:
        values["due_at"] = next_due_at
    result = tx.execute(
        update(timers)
        .where(
            timers.c.id == timer.id,
            timers.c.state == TimerState.ACTIVE.value,
            timers.c.fired_count == timer.fired_count,
        )
        .values(**values)
    )
    return result.rowcount == 1


def cancel(tx: Transaction, timer_id: int) -> bool:
    """Cancel an active timer; False if there is none of that id."""
    result = tx.execute(
        update(timers)
        .where(timers.c.id == timer_id, timers.c.state == TimerState.ACTIVE.value)
        .values(state=TimerState.CANCELLED.value)
    )
    tx.notify("timer")
    return result.rowcount == 1


def cancel_for(tx: Transaction, recipients: list[str]) -> None:
    """Cancel what is still to come for agents that have ended."""
    tx.execute(
        update(timers)
        .where(timers.c.recipient.in_(recipients), timers.c.state == TimerState.ACTIVE.value)
        .values(state=TimerState.CANCELLED.value)
    )


def listed(store: Store, *, everything: bool = False) -> list[dict[str, Any]]:
    """Active timers by due time, or all that ever were."""
    query = select(timers).order_by(timers.c.due_at)
    if not everything:
        query = query.where(timers.c.state == TimerState.ACTIVE.value)
    return store.rows(query)
