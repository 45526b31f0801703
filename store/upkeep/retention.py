"""Deletes the rows of projects that were archived long ago, in small batches, so that no writer waits long.

The file does not shrink: SQLite reuses the freed pages, and compacting would block every writer. Insights are
kept, because they are for other projects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlalchemy import ColumnElement, Delete, Table, and_, delete, func, or_, select

from store import crew, facts
from store.engine import Store
from store.schema import (
    agents,
    gate_runs,
    history,
    incidents,
    intents,
    messages,
    projects,
    task_events,
    tasks,
    timers,
)
from store.schema import facts as fact_table
from store.states import MessageState, ProjectState, TimerState

BATCH_ROWS = 500
WALK_ROWS = 2_000  # ids read for one batch of messages, which have no index by recipient
_OVER = [MessageState.HANDLED, MessageState.DEAD, MessageState.CANCELLED]


def expired(store: Store, before: float, *, now: float) -> list[str]:
    """The projects that were archived before `before`. One without that time gets it now."""
    archived = select(projects.c.name).where(projects.c.state == ProjectState.ARCHIVED)
    found = []
    for name in store.select(archived, str):
        at = facts.get(store, facts.archived_at(name))
        if at is None:
            with store.write() as tx:
                facts.put(tx, facts.archived_at(name), now, now=now)
        elif at < before:
            found.append(name)
    return found


def delete_projects(
    store: Store, names: list[str], *, before: float, between_batches: Callable[[], None]
) -> int:
    """Delete these archived projects, and the messages, timers and incidents from before `before` that belong
    to no project; returns the number of rows.

    `between_batches` is called after each batch, without the lock. An interrupted run is continued by the next.
    The foreign keys of `store` are turned off, because child tables have no index for the check and each
    deleted row would cost a scan: pass a store that is used for nothing else.
    """
    store.set_foreign_keys(on=False)
    count = 0
    team = [agent.name for name in names for agent in crew.team_of(store, name)]
    of_projects = store.select(select(agents.c.name).where(agents.c.project.is_not(None)), str)
    kept = [name for name in of_projects if name not in set(team)]
    for statement in _in_order(store, names, team, kept, before):
        while True:
            with store.write() as tx:
                rows = tx.execute(statement).rowcount
            count += rows
            between_batches()
            if rows < BATCH_ROWS:
                break
    return count


def _in_order(
    store: Store, names: list[str], team: list[str], kept: list[str], before: float
) -> Iterator[Delete]:
    """Children before parents. The project's own row comes last, so that an interrupted run finds it again."""
    for agent in team:
        yield _some(intents, intents.c.agent == agent)
        yield _some(history, history.c.agent == agent)
    yield from _messages(store, team, kept, before)
    over = [TimerState.FIRED, TimerState.CANCELLED]
    old_timer = and_(timers.c.state.in_(over), timers.c.created_at < before, timers.c.recipient.not_in(kept))
    yield _some(timers, or_(timers.c.recipient.in_(team), old_timer))
    yield _some(incidents, and_(incidents.c.created_at < before, incidents.c.project.is_(None)))
    for name in names:
        of_project = select(tasks.c.id).where(tasks.c.project == name)
        yield _some(task_events, task_events.c.task.in_(of_project))
        yield _some(gate_runs, gate_runs.c.task.in_(of_project))
        yield _some(tasks, tasks.c.project == name)
        yield _some(incidents, incidents.c.project == name)
        yield delete(agents).where(agents.c.project == name)
        yield delete(projects).where(projects.c.name == name)
        yield delete(fact_table).where(fact_table.c.name.in_([fact.name for fact in facts.of_project(name)]))


def _some(table: Table, condition: ColumnElement[bool]) -> Delete:
    few = select(table.c.id).where(condition).limit(BATCH_ROWS)
    return delete(table).where(table.c.id.in_(few))


def _messages(store: Store, team: list[str], kept: list[str], before: float) -> Iterator[Delete]:
    """One statement for each range of `WALK_ROWS` ids."""
    newest = store.select(select(func.coalesce(func.max(messages.c.id), 0)), int)[0]
    theirs = or_(messages.c.recipient.in_(team), messages.c.sender.in_(team))
    old = and_(
        messages.c.created_at < before,
        messages.c.state.in_(_OVER),
        messages.c.recipient.not_in(kept),
        messages.c.sender.not_in(kept),
    )
    for first in range(1, newest + 1, WALK_ROWS):
        id_range = messages.c.id.between(first, first + WALK_ROWS - 1)
        yield _some(messages, and_(id_range, or_(theirs, old)))
