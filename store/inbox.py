"""Mailboxes. A message is a row; it is delivered at least once, and its effects are committed once.

    READY   + claim                     -> CLAIMED   (by one incarnation: its generation)
    CLAIMED + acknowledge               -> HANDLED   (in the transaction of its last effects)
    CLAIMED + failed, attempts left     -> READY     (after a pause)
    CLAIMED + failed, none left         -> DEAD      (the caller notifies the sender and the human)
    CLAIMED + claimant replaced         -> CLAIMED   (the next incarnation continues with it)
    READY | CLAIMED + withdrawn         -> CANCELLED

Order: highest priority first, then oldest.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, insert, literal_column, select, update

from store.engine import Store, Transaction
from store.engine.prepared import Prepared, Query, maybe_float
from store.errors import MailboxFull
from store.rows import Message
from store.schema import messages
from store.shared.backoff import Backoff
from store.states import MessageState

ATTEMPTS = 3
MAILBOX_LIMIT = 10_000
RETRY = Backoff(first_s=0.5, max_s=4.0, jitter=(1.0, 1.0))


# As literals: with parameters SQLite's planner cannot know that the partial index covers them.
_READY: ColumnElement[str] = literal_column(f"'{MessageState.READY.value}'")
_CLAIMED: ColumnElement[str] = literal_column(f"'{MessageState.CLAIMED.value}'")
_NEXT = Query(
    select(messages)
    .where(
        messages.c.recipient == bindparam("recipient"),
        messages.c.state == _READY,
        messages.c.ready_at <= bindparam("now"),
        messages.c.priority >= bindparam("least_priority"),
    )
    .order_by(messages.c.priority.desc(), messages.c.id)
    .limit(1),
    Message,
)
_NEXT_READY = Query(
    select(func.min(messages.c.ready_at).label("ready_at")).where(
        messages.c.recipient == bindparam("recipient"),
        messages.c.state == _READY,
        messages.c.ready_at > bindparam("now"),
    ),
    maybe_float,
)
_WAITING = Query(
    select(func.count())
    .select_from(messages)
    .where(messages.c.recipient == bindparam("recipient"), messages.c.state == _READY),
    int,
)
_KNOWN = Query(
    select(messages.c.id).where(messages.c.sender == bindparam("sender"), messages.c.key == bindparam("key")),
    int,
)
_CLAIM = Prepared(
    update(messages)
    .where(messages.c.id == bindparam("message_id"), messages.c.state == _READY)
    .values(
        state=MessageState.CLAIMED,
        claim_generation=bindparam("generation"),
        claimed_at=bindparam("now"),
    )
)
_ACKNOWLEDGE = Prepared(
    update(messages)
    .where(messages.c.id == bindparam("message_id"), messages.c.state == _CLAIMED)
    .values(state=MessageState.HANDLED, handled_at=bindparam("now"))
)
_OPEN = Query(
    select(messages)
    .where(messages.c.recipient == bindparam("recipient"), messages.c.state == _CLAIMED)
    .order_by(messages.c.id),
    Message,
)
_TAKE_OVER = Prepared(
    update(messages)
    .where(messages.c.recipient == bindparam("agent"), messages.c.state == _CLAIMED)
    .values(claim_generation=bindparam("generation"))
)
_RECIPIENTS = Query(
    select(messages.c.recipient)
    .distinct()
    .where(messages.c.state == _READY, messages.c.ready_at <= bindparam("now")),
    str,
)
_ONE = Query(select(messages).where(messages.c.id == bindparam("message_id")), Message)
_REPLIES = Query(
    select(messages).where(messages.c.in_reply_to == bindparam("message_id")).order_by(messages.c.id),
    Message,
)
_INSERT = Prepared(
    insert(messages),
    (
        "sender",
        "recipient",
        "kind",
        "body",
        "priority",
        "state",
        "attempts",
        "key",
        "in_reply_to",
        "ready_at",
        "created_at",
    ),
)


def append(
    tx: Transaction,
    *,
    sender: str,
    recipient: str,
    kind: str,
    body: dict[str, Any],
    priority: int,
    now: float,
    key: str | None = None,
    in_reply_to: int | None = None,
    limit: int | None = None,
) -> int:
    """Put a message into `recipient`'s mailbox and return its id.

    A second message with the same sender and `key` is not added; the id of the first is returned. Raises
    `MailboxFull` if `limit` messages are unread there already.
    """
    if key is not None:
        known = tx.first(_KNOWN, {"sender": sender, "key": key})
        if known is not None:
            return known
    if limit is not None and waiting(tx, recipient) >= limit:
        raise MailboxFull(
            f"{recipient} has {limit} unread messages; wait until it has handled some, "
            f"see `nightcrew info {recipient}`"
        )
    added = tx.add(
        _INSERT,
        {
            "sender": sender,
            "recipient": recipient,
            "kind": kind,
            "body": body,
            "priority": priority,
            "state": MessageState.READY,
            "attempts": 0,
            "key": key,
            "in_reply_to": in_reply_to,
            "ready_at": now,
            "created_at": now,
        },
    )
    tx.notify(recipient)
    return added


def waiting(tx: Transaction, recipient: str) -> int:
    """The number of unread messages in `recipient`'s mailbox."""
    return tx.first(_WAITING, {"recipient": recipient}) or 0


def peek(store: Store, recipient: str, *, now: float, least_priority: int = 0) -> Message | None:
    """The next message due for `recipient`, or None. It stays unclaimed; the read takes no lock."""
    return store.first(_NEXT, {"recipient": recipient, "now": now, "least_priority": least_priority})


def next_ready_at(store: Store, recipient: str, *, now: float) -> float | None:
    """When the first of `recipient`'s delayed messages becomes due, in UTC seconds; None if there is none."""
    return store.first(_NEXT_READY, {"recipient": recipient, "now": now})


def claim(tx: Transaction, message_id: int, *, generation: int, now: float) -> bool:
    """Claim a READY message for this incarnation; False if it is no longer READY."""
    return tx.run(_CLAIM, {"message_id": message_id, "generation": generation, "now": now}) == 1


def claim_next(tx: Transaction, recipient: str, generation: int, *, now: float) -> Message | None:
    """Claim the next message due for `recipient` and return it; None if there is none."""
    found = tx.first(_NEXT, {"recipient": recipient, "now": now, "least_priority": 0})
    if found is not None:
        claim(tx, found.id, generation=generation, now=now)
    return found


def recipients_waiting(tx: Transaction, *, now: float) -> list[str]:
    """The recipients that have a message that is due."""
    return tx.fetch(_RECIPIENTS, {"now": now})


def claimed(store: Store, recipient: str) -> list[Message]:
    """The messages that `recipient` has claimed and not finished, oldest first. A new incarnation resumes there."""
    return store.fetch(_OPEN, {"recipient": recipient})


def take_over(tx: Transaction, recipient: str, generation: int) -> None:
    """Assign the claims of `recipient`'s older incarnations to this one."""
    tx.run(_TAKE_OVER, {"agent": recipient, "generation": generation})


def acknowledge(tx: Transaction, message_id: int, *, now: float) -> None:
    """Mark a claimed message as handled, in the transaction that commits its effects."""
    tx.run(_ACKNOWLEDGE, {"message_id": message_id, "now": now})


def record_failure(tx: Transaction, message: Message, *, error: str, now: float) -> MessageState | None:
    """Count a failed attempt: READY again after a pause that doubles, or DEAD after the third.

    Returns the new state. None: the message was withdrawn or handled in the meantime and is left as it is.
    """
    attempts = message.attempts + 1
    dead = attempts >= ATTEMPTS
    state = MessageState.DEAD if dead else MessageState.READY
    live = messages.c.state.in_([MessageState.READY, MessageState.CLAIMED])
    result = tx.execute(
        update(messages)
        .where(messages.c.id == message.id, live)
        .values(
            attempts=attempts,
            error=error,
            state=state,
            ready_at=now + RETRY.pause_s(attempts, 0.0),
            handled_at=now if dead else None,
        )
    )
    return state if result.rowcount else None


def withdraw(tx: Transaction, message_id: int, *, reason: str, now: float) -> None:
    """Cancel a message that is not handled yet."""
    tx.execute(
        update(messages)
        .where(
            messages.c.id == message_id,
            messages.c.state.in_([MessageState.READY, MessageState.CLAIMED]),
        )
        .values(state=MessageState.CANCELLED, error=reason, handled_at=now)
    )


def make_due(tx: Transaction, *, now: float) -> None:
    """Make due what would wait longer than the longest pause after a failure; for a clock that was set back."""
    latest = now + RETRY.longest_s
    tx.execute(
        update(messages)
        .where(messages.c.state == MessageState.READY, messages.c.ready_at > latest)
        .values(ready_at=now)
    )


def replies(store: Store, message_id: int) -> list[Message]:
    """The answers to a message, oldest first."""
    return store.fetch(_REPLIES, {"message_id": message_id})


def get(store: Store, message_id: int) -> Message | None:
    """One message, or None."""
    return store.first(_ONE, {"message_id": message_id})


def listed(
    store: Store, *, recipient: str | None = None, state: MessageState | None = None, most: int = 100
) -> list[Message]:
    """The newest messages of a mailbox, a state, or both; newest first."""
    query = select(messages).order_by(messages.c.id.desc()).limit(most)
    if recipient is not None:
        query = query.where(messages.c.recipient == recipient)
    if state is not None:
        query = query.where(messages.c.state == state)
    return store.select(query, Message)


def revive(tx: Transaction, message_id: int, *, now: float) -> bool:
    """Give a dead letter three new attempts; False if it is not dead."""
    result = tx.execute(
        update(messages)
        .where(messages.c.id == message_id, messages.c.state == MessageState.DEAD)
        .values(state=MessageState.READY, attempts=0, ready_at=now, handled_at=None)
    )
    return result.rowcount == 1
