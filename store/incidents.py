"""Incidents: what went wrong and what was done about it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, insert, select

from store.engine import Store, Transaction
from store.rows import Incident
from store.schema import incidents
from store.states import IncidentKind


def record(
    tx: Transaction,
    kind: IncidentKind,
    *,
    now: float,
    agent: str | None = None,
    project: str | None = None,
    needs_human: bool = False,
    **detail: Any,
) -> int:
    """Record an incident; returns its id. `detail` holds the fields of its kind, as JSON."""
    values = {
        "kind": kind,
        "agent": agent,
        "project": project,
        "detail": detail,
        "needs_human": needs_human,
        "created_at": now,
    }
    return tx.add(insert(incidents), values)


def listed(store: Store, *, project: str | None = None, most: int = 200) -> list[Incident]:
    """The newest incidents, newest first."""
    query = select(incidents).order_by(incidents.c.id.desc()).limit(most)
    if project is not None:
        query = query.where(incidents.c.project == project)
    return store.select(query, Incident)


def counts(store: Store) -> dict[str, int]:
    """How often each kind happened."""
    query = select(incidents.c.kind, func.count()).group_by(incidents.c.kind)
    return dict(store.select(query, lambda kind, count: (str(kind), int(count))))
