"""The open store of one process: reads without locks, and short writes under a fair lock and a fencing token.

Two measurements shaped it:

- Readers take no lock; only writers queue. SQLite's busy handler starves some of several writers, so they
  first queue on a flock, which the kernel grants in order of arrival.
- Syncing takes ten times as long as writing. So changes that need not survive a power loss are committed
  without it (see `durable` in `write`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Connection, Select

from store import errors
from store.engine.connection import StoreConnection, check_readable
from store.engine.header import check_header
from store.engine.prepared import Query
from store.engine.transaction import Fence, Notify, Transaction
from store.engine.translate import translated
from store.engine.writers_lock import WritersLock
from store.failpoints import failpoint

T = TypeVar("T")


class Store:
    """The open store of one process. Open it after a fork, never before. Threads may share it."""

    def __init__(self, path: Path, *, notify: Notify | None = None) -> None:
        """Open the store at `path`. Raises a `StoreError`; a file that is not a Nightcrew store is not changed."""
        check_header(path)
        self.path = path
        self._notify = notify
        self._mutex = threading.RLock()
        self._readers = threading.local()
        self._opened: list[StoreConnection] = []
        with translated(path):
            self._writer = StoreConnection(path)
        try:
            with translated(path):
                check_readable(self._writer.driver)
        except errors.StoreError:
            self._writer.close()
            raise
        self._syncs = True
        self._lock = WritersLock(path)

    def read(self) -> Connection:
        """This thread's own reading connection: deferred, in autocommit, takes no lock."""
        return self._reader().core

    def fetch(self, query: Query[T], values: Mapping[str, Any] | None = None) -> list[T]:
        """All committed rows of a query."""
        return self._read(lambda connection: query.fetch(connection.driver, values or {}))

    def first(self, query: Query[T], values: Mapping[str, Any] | None = None) -> T | None:
        """The first committed row of a query, or None."""
        return self._read(lambda connection: query.first(connection.driver, values or {}))

    def select(self, statement: Select[Any], make: Callable[..., T]) -> list[T]:
        """The committed rows of a statement that is not prepared, each as `make(*columns)`."""
        return self._read(lambda connection: [make(*row) for row in connection.core.execute(statement)])

    def _read(self, read: Callable[[StoreConnection], T]) -> T:
        # Use the writer's connection if no write is in progress: a second one costs 1 ms and memory at start.
        if self._mutex.acquire(blocking=False):
            try:
                if not self._writer.driver.in_transaction:
                    with translated(self.path):
                        return read(self._writer)
            finally:
                self._mutex.release()
        reader = self._reader()
        with translated(self.path):
            return read(reader)

    def _reader(self) -> StoreConnection:
        reader: StoreConnection | None = getattr(self._readers, "connection", None)
        if reader is None:
            with translated(self.path):
                reader = self._readers.connection = StoreConnection(self.path)
            # Without the mutex, so that a reading thread does not wait for another thread's write.
            self._opened.append(reader)
        return reader

    @contextmanager
    def write(self, fence: Fence | None = None, *, durable: bool = True) -> Iterator[Transaction]:
        """One transaction, committed when the block ends. Raises `StaleGeneration` if a newer incarnation exists.

        Without `durable` the commit survives a crash of the process, but a power loss may undo it, together
        with everything that was committed later. Use it for facts that a power loss makes meaningless, such as
        which agent is working on what.
        """
        driver = self._writer.driver
        with self._mutex, translated(self.path):
            self._lock.acquire()
            try:
                self._sync(durable=durable)
                driver.execute("BEGIN IMMEDIATE")
                transaction = Transaction(self._writer)
                try:
                    if fence is not None:
                        self._check_fence(fence)
                    yield transaction
                    failpoint("before_commit")
                    driver.execute("COMMIT")
                    failpoint("after_commit")
                except BaseException:
                    # On a full disk SQLite has already rolled back. A second ROLLBACK would raise and hide the cause.
                    if driver.in_transaction:
                        driver.execute("ROLLBACK")
                    raise
            finally:
                self._lock.release()
        if self._notify is not None and transaction.recipients:
            self._notify(frozenset(transaction.recipients))
            failpoint("wake_sent")

    def _sync(self, *, durable: bool) -> None:
        """Choose how commits are synced; called before a transaction, so that an error means nothing was written."""
        if durable is not self._syncs:
            self._writer.driver.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._syncs = durable

    def set_foreign_keys(self, *, on: bool) -> None:
        """Turn the check of foreign keys on or off for the writes of this store; at first it is on."""
        with self._mutex, translated(self.path):
            self._writer.driver.execute(f"PRAGMA foreign_keys={'ON' if on else 'OFF'}")

    def _check_fence(self, fence: Fence) -> None:
        found = self._writer.driver.execute("SELECT generation FROM agents WHERE name = ?", (fence.agent,))
        row = found.fetchone()
        if row is None or row[0] != fence.generation:
            newest = "none" if row is None else row[0]
            raise errors.StaleGeneration(
                f"{fence.agent}: generation {fence.generation} was replaced by {newest}; its write is refused"
            )

    def close(self) -> None:
        """Close every connection; a second close is harmless."""
        with self._mutex:
            for connection in [self._writer, *self._opened]:
                connection.close()
            self._opened.clear()
            self._lock.close()


# What rows are read from: the store (committed rows), or a transaction (its own changes too).
Source: TypeAlias = Store | Transaction
