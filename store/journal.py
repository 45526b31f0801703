"""The journal of tool calls: an intent is committed before a tool runs, its outcome afterwards.

(none)   + intend            -> INTENDED
INTENDED + outcome written   -> DONE
INTENDED + cannot be settled -> UNKNOWN   (after a crash; the model reads what is known)

To settle an intent is to find out after a crash, from stored evidence, what its call did.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, insert, select, update

from store.engine import Fence, Store, Transaction
from store.engine.prepared import Prepared, Query
from store.rows import Intent
from store.schema import intents
from store.states import IntentState

_INSERT = Prepared(
    insert(intents),
    (
        "agent",
        "reply",
        "position",
        "tool",
        "arguments",
        "evidence",
        "state",
        "generation",
        "created_at",
    ),
)
_END = Prepared(
    update(intents)
    .where(intents.c.id == bindparam("intent_id"))
    .values(state=bindparam("new_state"), ended_at=bindparam("now"))
)
_OF_CALL = Query(
    select(intents).where(
        intents.c.agent == bindparam("agent"),
        intents.c.reply == bindparam("reply"),
        intents.c.position == bindparam("position"),
    ),
    Intent,
)


def intend(
    tx: Transaction,
    fence: Fence,
    *,
    reply: int,
    position: int,
    tool: str,
    arguments: dict[str, Any],
    evidence: dict[str, Any],
    now: float,
) -> Intent:
    """Record the intent and return it."""
    values: dict[str, Any] = {
        "agent": fence.agent,
        "reply": reply,
        "position": position,
        "tool": tool,
        "arguments": arguments,
        "evidence": evidence,
        "state": IntentState.INTENDED,
        "generation": fence.generation,
        "created_at": now,
    }
    return Intent(id=tx.add(_INSERT, values), ended_at=None, **values)


def end(tx: Transaction, intent_id: int, state: IntentState, *, now: float) -> None:
    """Record how a call ended, in the transaction that adds its result to the history."""
    tx.run(_END, {"intent_id": intent_id, "new_state": state, "now": now})


def renew(tx: Transaction, fence: Fence, intent_id: int, evidence: dict[str, Any]) -> None:
    """Reuse the intent of a tool that provably did not run, with new evidence and for this incarnation."""
    tx.execute(
        update(intents)
        .where(intents.c.id == intent_id)
        .values(evidence=evidence, generation=fence.generation)
    )


def find(store: Store, agent: str, reply: int, position: int) -> Intent | None:
    """The intent of one call; None if it was never started."""
    return store.first(_OF_CALL, {"agent": agent, "reply": reply, "position": position})


def listed(store: Store, state: IntentState, *, most: int = 1000) -> list[Intent]:
    """Intents in a state, newest first. The audit searches for intents that stayed open."""
    query = select(intents).where(intents.c.state == state).order_by(intents.c.id.desc()).limit(most)
    return store.select(query, Intent)
