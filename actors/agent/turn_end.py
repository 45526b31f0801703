"""How a turn ends without a tool call that ends it."""

from __future__ import annotations

from actors.agent.state import WorkingState
from actors.agent.tool_calls import TURN_ENDED, ToolCalls
from actors.runtime.context import Effects, nothing
from store.engine import Transaction
from store.entries import Entry, NoteBody
from store.rows import Message


def end_turn(
    state: WorkingState,
    tool_calls: ToolCalls,
    turn: Message,
    text: str = "",
    effects: Effects = nothing,
    *,
    note: str | None = None,
) -> None:
    """Commit the end of a turn: `effects`, results for the calls that did not run, and the acknowledgement.

    `text` is the answer if a person sent the turn's message. `note` is for people who read the history.
    """

    def ending(tx: Transaction) -> list[Entry]:
        effects(tx)
        entries = tool_calls.skip_all(tx, TURN_ENDED)
        if note is not None:
            entries.append(state.append(tx, NoteBody(note)))
        state.finish(tx, turn, text)
        return entries

    state.write(ending)
