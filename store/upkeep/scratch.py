"""Creates a temporary store from the declared schema, without Alembic, which actors must not import."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from store.schema import APPLICATION_ID, SCHEMA_VERSION, metadata


def create(path: Path) -> None:
    """Create an empty store at `path`, which must not exist."""
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path), poolclass=NullPool)
    with engine.begin() as connection:
        metadata.create_all(connection)
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection_ = sqlite3.connect(path)
    connection_.execute("PRAGMA journal_mode=WAL")
    connection_.close()
