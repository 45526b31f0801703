"""One process's way into the store: plain reads, and short writes behind a fair lock and the fence.

What is SQLite's alone stays here (and in `insights.py`). Measured rules that shaped it:

- One connection kept open: `engine.begin()` for each transaction costs twice as much.
- Reads are deferred and take no lock; only writers queue. SQLite's busy handler starves some of
  several writers, so they queue on a flock first, which the kernel hands on in order of arrival.
- synchronous=FULL: a commit survives power loss. Syncing takes ten times as long as writing, so what need not
  survive it does without (`write`).
"""

from __future__ import annotations

import functools
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, CursorResult, Engine, Executable, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from store import errors
from store.failpoints import failpoint
from store.prepared import Prepared
from store.schema import APPLICATION_ID, SCHEMA_VERSION
from store.writers_lock import WritersLock

Notify = Callable[[frozenset[str]], None]
BUSY_TIMEOUT_MS = 30_000
_HEADER_BYTES = 100


@dataclass(frozen=True, slots=True)
class Fence:
    """An agent's name and its incarnation's generation: the fencing token of each of its writes."""

    agent: str
    generation: int


@dataclass(slots=True)
class Transaction:
    """A write in progress. `notify` names mailboxes to wake once it has committed."""

    connection: Connection
    driver: sqlite3.Connection
    recipients: set[str] = field(default_factory=set)

    def execute(
        self, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run one Core statement inside this transaction."""
        return self.connection.execute(statement, values)

    def run(self, statement: Prepared, values: Mapping[str, Any]) -> int:
        """Run an INSERT, UPDATE or DELETE; returns how many rows it changed."""
        return statement.run(self.driver, values).rowcount

    def add(self, statement: Executable | Prepared, values: Mapping[str, Any]) -> int:
        """Run one INSERT of one row and return the row's id."""
        if isinstance(statement, Prepared):
            return int(statement.run(self.driver, values).lastrowid or 0)
        return int(self.connection.execute(statement, values).lastrowid or 0)

    def rows(
        self, statement: Executable | Prepared, values: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """All rows of a query as this transaction sees them, as plain dictionaries."""
        return _rows(self.connection, self.driver, statement, values)

    def row(
        self, statement: Executable | Prepared, values: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The first row of a query, or None."""
        return next(iter(self.rows(statement, values)), None)

    def notify(self, recipient: str) -> None:
        """Wake `recipient` after the commit; never before it, or it would find nothing."""
        self.recipients.add(recipient)


class Store:
    """The open store of one process; make it after a fork, never before. Threads may share it."""

    def __init__(self, path: Path, *, notify: Notify | None = None) -> None:
        """Open the store at `path`. Raises a `StoreError`; a file that is not ours is left untouched."""
        check_header(path)
        self.path = path
        self._notify = notify
        self._mutex = threading.RLock()
        self._readers = threading.local()
        self._opened: list[Connection] = []
        with translated(path):
            self._writer = self._connect()
        self._driver = _driver(self._writer)
        try:
            with translated(path):
                _look_inside(self._driver)
        except errors.StoreError:
            self._writer.close()
            raise
        self._lock = WritersLock(path)

    def read(self) -> Connection:
        """This thread's reading connection: deferred, in autocommit, takes no lock."""
        connection: Connection | None = getattr(self._readers, "connection", None)
        if connection is None:
            with translated(self.path):
                connection = self._connect()
            self._readers.connection = connection
            self._readers.driver = _driver(connection)
            with self._mutex:
                self._opened.append(connection)
        return connection

    def rows(
        self, statement: Executable | Prepared, values: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """All rows of a query that are committed, as plain dictionaries."""
        # By the writer's connection while nobody writes: a second one costs a start 1 ms and its memory.
        if self._mutex.acquire(blocking=False):
            try:
                if not self._driver.in_transaction:
                    with translated(self.path):
                        return _rows(self._writer, self._driver, statement, values)
            finally:
                self._mutex.release()
        connection = self.read()
        with translated(self.path):
            return _rows(connection, self._readers.driver, statement, values)

    def row(
        self, statement: Executable | Prepared, values: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The first row of a query, or None."""
        return next(iter(self.rows(statement, values)), None)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Several reads of one instant: what `status` and a prompt are built from."""
        connection = self.read()
        connection.exec_driver_sql("BEGIN DEFERRED")
        try:
            yield connection
        finally:
            connection.exec_driver_sql("COMMIT")

    @contextmanager
    def write(self, fence: Fence | None = None, *, durable: bool = True) -> Iterator[Transaction]:
        """One transaction: all of it or nothing. Raises `StaleGeneration` if `fence` was overtaken.

        Not `durable`: a kill takes nothing back, a power cut may, though never without all that was
        committed after it. For what a power cut makes meaningless anyhow, such as who is at work on what.
        """
        with self._mutex, translated(self.path):
            self._lock.acquire()
            try:
                if not durable:
                    self._driver.execute("PRAGMA synchronous=NORMAL")
                self._driver.execute("BEGIN IMMEDIATE")
                transaction = Transaction(self._writer, self._driver)
                try:
                    if fence is not None:
                        self._check_fence(fence)
                    yield transaction
                    failpoint("before_commit")
                    self._driver.execute("COMMIT")
                    failpoint("after_commit")
                except BaseException:
                    self._rollback()
                    raise
            finally:
                if not durable:
                    self._driver.execute("PRAGMA synchronous=FULL")
                self._lock.release()
        if self._notify is not None and transaction.recipients:
            self._notify(frozenset(transaction.recipients))
            failpoint("wake_sent")

    def set_foreign_keys(self, *, on: bool) -> None:
        """Have writes of this store check references, as they do from the start, or not."""
        with self._mutex, translated(self.path):
            self._writer.exec_driver_sql(f"PRAGMA foreign_keys={'ON' if on else 'OFF'}")

    def _check_fence(self, fence: Fence) -> None:
        found = self._driver.execute("SELECT generation FROM agents WHERE name = ?", (fence.agent,))
        row = found.fetchone()
        if row is None or row[0] != fence.generation:
            newest = "none" if row is None else row[0]
            raise errors.StaleGeneration(
                f"{fence.agent}: generation {fence.generation} was replaced by {newest}; its write is refused"
            )

    def _rollback(self) -> None:
        # After a full disk SQLite has rolled back by itself; a second ROLLBACK would hide the cause.
        if self._driver.in_transaction:
            self._driver.execute("ROLLBACK")

    def close(self) -> None:
        """Close every connection; a second close is harmless."""
        with self._mutex:
            for connection in [self._writer, *self._opened]:
                connection.close()
            self._opened.clear()
            self._lock.close()

    def _connect(self) -> Connection:
        opening = _opening.set(self.path)
        try:
            return _engine().connect()
        finally:
            _opening.reset(opening)


def _driver(connection: Connection) -> sqlite3.Connection:
    """The driver's own connection below: SQLAlchemy's accounting of transactions is not in use here."""
    driver: Any = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _rows(
    connection: Connection,
    driver: sqlite3.Connection,
    statement: Executable | Prepared,
    values: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    if isinstance(statement, Prepared):
        return statement.rows(driver, values or {})
    return [dict(row) for row in connection.execute(statement, values).mappings()]


_opening: ContextVar[Path] = ContextVar("_opening")


@functools.cache
def _engine() -> Engine:
    """One for all stores of a process, and for its forks; it keeps no connection open.

    What SQLAlchemy has learned of the dialect and compiled of our statements lives in it: a child whose
    parent has used a store starts with all of it, which halves its way to the first message.
    """
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connect(_opening.get()),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )
    event.listen(engine, "connect", _prepare)
    return engine


def _connect(path: Path) -> sqlite3.Connection:
    # Our own BEGIN and COMMIT only: with isolation_level None the driver adds none.
    return sqlite3.connect(
        f"file:{_quoted(path)}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def check_header(path: Path) -> None:
    """Raise the `StoreError` that says why `path` is no store of this version; writes nothing."""
    application_id, version = read_header(path)
    if application_id != APPLICATION_ID:
        raise errors.StoreForeign(
            f"{path} is not a Nightcrew store and was left untouched; move it away or choose another "
            "home with NIGHTCREW_HOME"
        )
    if version != SCHEMA_VERSION:
        newer = version > SCHEMA_VERSION
        raise errors.StoreVersionMismatch(
            f"{path} has schema {version}, this Nightcrew knows {SCHEMA_VERSION}; "
            + ("update Nightcrew" if newer else "`nightcrew up` migrates it")
        )


def check_file(path: Path) -> None:
    """As `check_header`, and raise if what follows the header is no database, or damaged; writes nothing."""
    check_header(path)
    with translated(path):
        connection = _connect(path)
        try:
            _look_inside(connection)
        finally:
            connection.close()


def _look_inside(connection: sqlite3.Connection) -> None:
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def read_header(path: Path) -> tuple[int, int]:
    """Application id and schema version from the file's first 100 bytes (sqlite.org/fileformat.html, 1.3).

    Without opening it as a database: that would write into a stranger's that has an unfinished WAL.
    Raises `StoreMissing`, `StoreForeign` or `StoreUnwritable`.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError as error:
        raise errors.StoreMissing(f"no store at {path}; `nightcrew up` makes one") from error
    except OSError as error:
        raise errors.StoreUnwritable(f"{path}: {error.strerror}; make the crew's home yours") from error
    if len(header) < _HEADER_BYTES or not header.startswith(b"SQLite format 3\0"):
        return 0, 0
    return int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn the driver's errors into ours, with cause."""
    try:
        yield
    except DBAPIError as error:
        raise _translate(path, error.orig or error) from error
    except sqlite3.Error as error:
        raise _translate(path, error) from error


def _translate(path: Path, error: BaseException) -> Exception:
    text = str(error)
    if "full" in text:
        return errors.StoreUnwritable(f"{path}: {text}; free some disk space, nothing committed is lost")
    if any(word in text for word in ("readonly", "unable to open", "disk I/O")):
        return errors.StoreUnwritable(f"{path}: {text}; make the crew's home writable")
    if "not a database" in text:
        return errors.StoreForeign(f"{path} is not a Nightcrew store and was left untouched")
    if "malformed" in text:
        return errors.StoreCorrupt(
            f"{path} is damaged ({text}) and was left untouched; restore a backup from its folder"
        )
    return errors.StoreError(f"{path}: {text}")
