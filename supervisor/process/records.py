"""The agents' rows as the supervisor changes them: one function per change of a child's state.

Each function commits a transaction of its own. All raise `StoreUnwritable` while the disk is full.
"""

from __future__ import annotations

import time

from actors.work import assignment
from store import crew, incidents
from store.engine import Store
from store.rows import Agent
from store.states import Activity, AgentState, IncidentKind


def next_incarnation(store: Store, name: str, crashed: str | None) -> int:
    """Write that a new incarnation of `name` is starting; returns its generation.

    `crashed` is the reason of the crash that it follows. It is counted as a restart and recorded as an
    incident. None for a start that follows no crash.
    """
    now = time.time()
    # A start without a crash need not be synced: after a power failure no process of it is left.
    with store.write(durable=crashed is not None) as tx:
        generation = crew.next_generation(tx, name)
        row = crew.agent(tx, name)
        crew.change_agent(
            tx,
            name,
            state=AgentState.STARTING,
            reason=crashed,
            restarts=row.restarts + (crashed is not None),
            deadline_at=None,
            activity=Activity.IDLE,
        )
        if crashed is not None:
            incidents.record(
                tx, IncidentKind.AGENT_RESTARTED, now=now, agent=name, project=row.project, reason=crashed
            )
    return generation


def forked(store: Store, name: str, pid: int) -> None:
    """Write the pid of the process."""
    with store.write(durable=False) as tx:
        crew.change_agent(tx, name, pid=pid)


def ready(store: Store, name: str) -> None:
    """Write that the child has recovered and takes messages."""
    with store.write(durable=False) as tx:
        crew.change_agent(tx, name, state=AgentState.RUNNING, ready_at=time.time(), reason=None)


def backing_off(store: Store, name: str, reason: str) -> None:
    """Write that the child crashed for `reason` and waits for its next start."""
    with store.write() as tx:
        crew.change_agent(tx, name, state=AgentState.BACKOFF, reason=reason, pid=None)


def quarantined(store: Store, name: str, reason: str) -> None:
    """Write the quarantine, notify the manager and people, and give the child's task to others."""
    with store.write() as tx:
        crew.change_agent(tx, name, state=AgentState.QUARANTINED, reason=reason, pid=None)
        assignment.on_quarantine(tx, name, reason, now=time.time())


def stopped(store: Store, name: str, reason: str) -> None:
    """Write that the child has ended and is not started again."""
    with store.write() as tx:
        crew.change_agent(tx, name, state=AgentState.STOPPED, reason=reason, pid=None, deadline_at=None)


def unresponsive(store: Store, row: Agent, reason: str) -> None:
    """Record the incident of a child that was killed because it made no progress. `row`: its row before the kill."""
    with store.write() as tx:
        crew.change_agent(tx, row.name, deadline_at=None)
        incidents.record(
            tx,
            IncidentKind.AGENT_HUNG,
            now=time.time(),
            agent=row.name,
            project=row.project,
            activity=row.activity,
            since=row.activity_since,
            reason=reason,
        )
