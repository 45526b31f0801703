"""The tool journal: an intent is committed before a tool touches the world, its outcome after.

(none)   + intend            -> INTENDED
INTENDED + outcome written   -> DONE
INTENDED + cannot be settled -> UNKNOWN   (after a crash; the model is told what is known)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from store.engine import Fence, Store, Transaction
from store.prepared import Prepared
from store.schema import intents
from store.states import IntentState


@dataclass(frozen=True, slots=True)
class Intent:
    """`reply`, `position`: which call of which model reply; `evidence`: noted by the tool before it ran."""

    id: int
    reply: int
    position: int
    tool: str
    arguments: dict[str, Any]
    evidence: dict[str, Any]
    state: IntentState
    generation: int


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
_OF_CALL = Prepared(
    select(
        intents.c.id,
        intents.c.reply,
        intents.c.position,
        intents.c.tool,
        intents.c.arguments,
        intents.c.evidence,
        intents.c.state,
        intents.c.generation,
    ).where(
        intents.c.agent == bindparam("agent"),
        intents.c.reply == bindparam("reply"),
        intents.c.position == bindparam("position"),
    )
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
) -> int:
    """Write the intent down; returns its id."""
    return tx.add(
        _INSERT,
        {
            "agent": fence.agent,
            "reply": reply,
            "position": position,
            "tool": tool,
            "arguments": arguments,
            "evidence": evidence,
            "state": IntentState.INTENDED.value,
            "generation": fence.generation,
            "created_at": now,
        },
    )


def end(tx: Transaction, intent_id: int, state: IntentState, *, now: float) -> None:
    """Settle an intent, in the transaction that adds its tool result to the history."""
    tx.run(_END, {"intent_id": intent_id, "new_state": state.value, "now": now})


def renew(tx: Transaction, fence: Fence, intent_id: int, evidence: dict[str, Any]) -> None:
    """A tool that provably did not run is begun again: same intent, fresh evidence, this incarnation."""
    tx.execute(
        update(intents)
        .where(intents.c.id == intent_id)
        .values(evidence=evidence, generation=fence.generation)
    )


def find(store: Store, agent: str, reply: int, position: int) -> Intent | None:
    """The intent of one call, if it was ever begun."""
    row = store.row(_OF_CALL, {"agent": agent, "reply": reply, "position": position})
    return None if row is None else Intent(**{**row, "state": IntentState(row["state"])})


def listed(store: Store, state: IntentState, *, most: int = 1000) -> list[dict[str, Any]]:
    """Intents in a state, newest first: the audit's question is which stayed open."""
    query = select(intents).where(intents.c.state == state.value).order_by(intents.c.id.desc()).limit(most)
    return store.rows(query)
