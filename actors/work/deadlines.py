"""Agents without progress by their deadline, and deadlines that move when a clock jumps."""

from __future__ import annotations

from store import crew, inbox, incidents
from store.engine import Store, Transaction
from store.rows import Agent
from store.states import AgentState, IncidentKind

# The supervisor compares the clocks every second and ignores a change under 5 s, so an activity that began within
# this time began after the jump.
AFTER_JUMP_S = 4.0


def overdue_agents(store: Store, now: float) -> list[Agent]:
    """Running agents whose deadline has passed."""
    return [
        row
        for row in crew.all_agents(store)
        if row.deadline_at is not None and row.deadline_at < now and row.state is AgentState.RUNNING
    ]


def move_deadlines(tx: Transaction, drift_s: float, *, slept_s: float, now: float) -> None:
    """Move every deadline by the `drift_s` seconds that the wall clock jumped; nobody could work in them.

    `slept_s` of them the machine slept. Deadlines set after the jump stay. If the clock was set back, messages
    whose time to be read would lie in the future become readable now.
    """
    for row in crew.all_agents(tx):
        since = row.activity_since
        is_new = since is not None and now - AFTER_JUMP_S <= since <= now
        if row.deadline_at is not None and not is_new:
            crew.change_agent(tx, row.name, deadline_at=row.deadline_at + drift_s)
    if drift_s < 0:
        inbox.make_due(tx, now=now)
    if slept_s:
        incidents.record(tx, IncidentKind.MACHINE_SLEPT, now=now, gap_s=round(slept_s, 1))
    if abs(drift_s - slept_s) >= 1:
        incidents.record(tx, IncidentKind.CLOCK_WAS_SET, now=now, by_s=round(drift_s - slept_s, 1))
