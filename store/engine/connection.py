"""One SQLite connection, used by the driver directly and, where a statement needs it, through SQLAlchemy.

Keeping it open is a measured choice: `engine.begin()` for each transaction costs twice as much.
"""

from __future__ import annotations

import functools
import sqlite3
from contextlib import closing
from contextvars import ContextVar
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import NullPool

BUSY_TIMEOUT_MS = 30_000
# synchronous=FULL: a commit survives a power loss.
_PRAGMAS = (f"busy_timeout={BUSY_TIMEOUT_MS}", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY")


class StoreConnection:
    """The driver's connection; SQLAlchemy's is put around it by the first statement that needs it."""

    def __init__(self, path: Path) -> None:
        self.driver = connect(path)
        self._core: Connection | None = None

    @property
    def core(self) -> Connection:
        """SQLAlchemy's connection, which uses `driver`."""
        if self._core is None:
            lending = _lent.set(self.driver)
            try:
                self._core = _engine().connect()
            finally:
                _lent.reset(lending)
        return self._core

    def close(self) -> None:
        """Close both."""
        if self._core is not None:
            self._core.close()
        self.driver.close()


_lent: ContextVar[sqlite3.Connection] = ContextVar("_lent")


@functools.cache
def _engine() -> Engine:
    """The engine of all stores of a process and of its forks; it keeps no connection open.

    It holds what SQLAlchemy has learned of the dialect and compiled of our statements. A child whose parent
    has used a store starts with all of it, which halves the time to its first message.
    """
    engine = create_engine("sqlite://", creator=_lent.get, poolclass=NullPool, pool_reset_on_return=None)
    # On the first connection it gets, the engine begins and ends a transaction to learn about the server. Ours
    # may be in the middle of a transaction, so it gets another one.
    with closing(sqlite3.connect(":memory:")) as stranger:
        lending = _lent.set(stranger)
        engine.connect().close()
        _lent.reset(lending)
    return engine


def connect(path: Path) -> sqlite3.Connection:
    """Open the existing file at `path` with the pragmas of the store. Raises `sqlite3.Error`."""
    # Our own BEGIN and COMMIT only: with isolation_level None the driver adds none.
    connection = sqlite3.connect(
        f"file:{_quoted(path)}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


def check_readable(connection: sqlite3.Connection) -> None:
    """Read the list of tables. Raises `sqlite3.Error` if the file is not a database or is damaged."""
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
