"""Insights: findings of one project that may help others. They are searched with SQLite's FTS5."""

from __future__ import annotations

import re

from sqlalchemy import insert, select, text

from store.engine import Store, Transaction
from store.engine.prepared import Query
from store.rows import Insight
from store.schema import insights

_SEARCH = Query(
    text(
        "SELECT i.id, i.project, i.author, i.text, i.created_at "
        "FROM insights_fts f JOIN insights i ON i.id = f.rowid "
        "WHERE insights_fts MATCH :words ORDER BY bm25(insights_fts) LIMIT :most"
    ).columns(*insights.c),
    Insight,
)


def add(tx: Transaction, *, project: str | None, author: str, words: str, now: float) -> int:
    """Store an insight with its author; returns its id. A text that is stored already is not added again."""
    known = tx.execute(select(insights.c.id).where(insights.c.text == words)).scalar()
    if known is not None:
        return int(known)
    values = {"project": project, "author": author, "text": words, "created_at": now}
    return tx.add(insert(insights), values)


def search(store: Store, query: str, *, most: int = 5) -> list[Insight]:
    """Insights that share words with `query`, best first; any text is a valid query."""
    words = re.findall(r"\w{3,}", query)[:40]
    if not words:
        return []
    # Quoted, so that FTS5's own operators in a model's text are only words.
    return store.fetch(_SEARCH, {"words": " OR ".join(f'"{word}"' for word in words), "most": most})


def listed(store: Store, *, most: int = 100) -> list[Insight]:
    """The newest insights, newest first."""
    return store.select(select(insights).order_by(insights.c.id.desc()).limit(most), Insight)
