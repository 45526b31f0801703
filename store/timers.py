"""Timers: check-ins that survive a restart. `actors/work/timer.py` computes when a recurring one is due next.

ACTIVE + fired, one-shot  -> FIRED
ACTIVE + fired, recurring -> ACTIVE   (with the next due time)
ACTIVE + cancelled        -> CANCELLED
"""

from __future__ import annotations

from sqlalchemy import bindparam, func, insert, literal_column, select, update

from store.engine import Store, Transaction
from store.engine.prepared import Query, maybe_float
from store.rows import Timer
from store.schema import timers
from store.states import TimerState

_DUE = Query(
    select(timers)
    .where(timers.c.state == literal_column(f"'{TimerState.ACTIVE}'"), timers.c.due_at <= bindparam("now"))
    .order_by(timers.c.due_at),
    Timer,
)
_NEXT_DUE = Query(
    select(func.min(timers.c.due_at)).where(timers.c.state == literal_column(f"'{TimerState.ACTIVE}'")),
    maybe_float,
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
    """Add a timer and return its id. A second one with the same `key` is not added; the first one's id is returned."""
    if key is not None:
        known = tx.execute(select(timers.c.id).where(timers.c.key == key)).scalar()
        if known is not None:
            return int(known)
    added = tx.add(
        insert(timers),
        {
            "recipient": recipient,
            "note": note,
            "state": TimerState.ACTIVE,
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
    """The active timers that are due, the most overdue first."""
    return store.fetch(_DUE, {"now": now})


def next_due_at(store: Store) -> float | None:
    """When the next active timer is due, in UTC seconds; None if there is none."""
    return store.first(_NEXT_DUE)


def record_fired(tx: Transaction, timer: Timer, *, now: float, next_due_at: float | None) -> bool:
    """Record that a timer fired. False: it was cancelled or fired in the meantime, so nothing may be sent."""
    is_last = next_due_at is None
    result = tx.execute(
        update(timers)
        .where(
            timers.c.id == timer.id,
            timers.c.state == TimerState.ACTIVE,
            timers.c.fired_count == timer.fired_count,
        )
        .values(
            fired_at=now,
            fired_count=timer.fired_count + 1,
            state=TimerState.FIRED if is_last else TimerState.ACTIVE,
            due_at=timer.due_at if is_last else next_due_at,
        )
    )
    return result.rowcount == 1


def cancel(tx: Transaction, timer_id: int) -> bool:
    """Cancel an active timer; False if there is none with this id."""
    result = tx.execute(
        update(timers)
        .where(timers.c.id == timer_id, timers.c.state == TimerState.ACTIVE)
        .values(state=TimerState.CANCELLED)
    )
    tx.notify("timer")
    return result.rowcount == 1


def cancel_for(tx: Transaction, recipients: list[str]) -> None:
    """Cancel the active timers of agents that have ended."""
    tx.execute(
        update(timers)
        .where(timers.c.recipient.in_(recipients), timers.c.state == TimerState.ACTIVE)
        .values(state=TimerState.CANCELLED)
    )


def listed(store: Store, *, everything: bool = False) -> list[Timer]:
    """The active timers, or all timers, by due time."""
    query = select(timers).order_by(timers.c.due_at)
    if not everything:
        query = query.where(timers.c.state == TimerState.ACTIVE)
    return store.select(query, Timer)
