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
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, CursorResult, Engine, Executable, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from store import errors
from store.failpoints import failpoint
from store.prepared import Prepared
from store.schema import APPLICATION_ID, SCHEMA_VERSION
from store.writers_lock import WritersLock

Notify = Callable[[frozenset[str]], None]
BUSY_TIMEOUT_MS = 30_000
_PRAGMAS = (f"busy_timeout={BUSY_TIMEOUT_MS}", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY")
_HEADER_BYTES = 100


@dataclass(frozen=True, slots=True)
class Fence:
    """An agent's name and its incarnation's generation: the fencing token of each of its writes."""

    agent: str
    generation: int


class _Line:
    """One connection of the driver's; SQLAlchemy's is put around it by the first statement that needs it."""

    def __init__(self, path: Path) -> None:
        self.driver = _connect(path)
        self._core: Connection | None = None

    @property
    def core(self) -> Connection:
        if self._core is None:
            lending = _lent.set(self.driver)
            try:
                self._core = _engine().connect()
            finally:
                _lent.reset(lending)
        return self._core

    def rows(
        self, statement: Executable | Prepared, values: Mapping[str, Any] | None
    ) -> list[dict[str, Any]]:
        if isinstance(statement, Prepared):
            return statement.rows(self.driver, values or {})
        return [dict(row) for row in self.core.execute(statement, values).mappings()]

    def close(self) -> None:
        if self._core is not None:
            self._core.close()
        self.driver.close()


@dataclass(slots=True)
class Transaction:
    """A write in progress. `notify` names mailboxes to wake once it has committed."""

    _line: _Line
    recipients: set[str] = field(default_factory=set)

    @property
    def connection(self) -> Connection:
        """For SQL of one's own; begin and end nothing with it."""
        return self._line.core

    @property
    def driver(self) -> sqlite3.Connection:
        """The driver's connection, as `connection`."""
        return self._line.driver

    def execute(
        self, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run one Core statement inside this transaction."""
        return self._line.core.execute(statement, values)

    def run(self, statement: Prepared, values: Mapping[str, Any]) -> int:
        """Run an INSERT, UPDATE or DELETE; returns how many rows it changed."""
        return statement.run(self._line.driver, values).rowcount

    def add(self, statement: Executable | Prepared, values: Mapping[str, Any]) -> int:
        """Run one INSERT of one row and return the row's id."""
        if isinstance(statement, Prepared):
            return int(statement.run(self._line.driver, values).lastrowid or 0)
        return int(self._line.core.execute(statement, values).lastrowid or 0)

    def rows(
        self, statement: Executable | Prepared, values: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """All rows of a query as this transaction sees them, as plain dictionaries."""
        return self._line.rows(statement, values)

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
        self._opened: list[_Line] = []
        with translated(path):
            self._writer = _Line(path)
        try:
            with translated(path):
                _look_inside(self._writer.driver)
        except errors.StoreError:
            self._writer.close()
            raise
        self._syncs = True
        self._lock = WritersLock(path)

    def read(self) -> Connection:
        """This thread's own reading connection: deferred, in autocommit, takes no lock."""
        return self._reader().core

    def _reader(self) -> _Line:
        line: _Line | None = getattr(self._readers, "line", None)
        if line is None:
            with translated(self.path):
                line = self._readers.line = _Line(self.path)
            # Without the mutex: this is where a thread comes that must not wait for another's write.
            self._opened.append(line)
        return line

    def rows(
        self, statement: Executable | Prepared, values: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """All rows of a query that are committed, as plain dictionaries."""
        # By the writer's connection while nobody writes: a second one costs a start 1 ms and its memory.
        if self._mutex.acquire(blocking=False):
            try:
                if not self._writer.driver.in_transaction:
                    with translated(self.path):
                        return self._writer.rows(statement, values)
            finally:
                self._mutex.release()
        reader = self._reader()
        with translated(self.path):
            return reader.rows(statement, values)

    def row(
        self, statement: Executable | Prepared, values: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The first row of a query, or None."""
        return next(iter(self.rows(statement, values)), None)

    @contextmanager
    def write(self, fence: Fence | None = None, *, durable: bool = True) -> Iterator[Transaction]:
        """One transaction: all of it or nothing. Raises `StaleGeneration` if `fence` was overtaken.

        Not `durable`: a kill takes nothing back, a power cut may, though never without all that was
        committed after it. For what a power cut makes meaningless anyhow, such as who is at work on what.
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
                    # After a full disk SQLite has rolled back by itself; a second one would hide the cause.
                    if driver.in_transaction:
                        driver.execute("ROLLBACK")
                    raise
            finally:
                self._lock.release()
        if self._notify is not None and transaction.recipients:
            self._notify(frozenset(transaction.recipients))
            failpoint("wake_sent")

    def _sync(self, *, durable: bool) -> None:
        """Before a transaction, never after it: what fails here has written nothing."""
        if durable is not self._syncs:
            self._writer.driver.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._syncs = durable

    def set_foreign_keys(self, *, on: bool) -> None:
        """Have writes of this store check references, as they do from the start, or not."""
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
            for line in [self._writer, *self._opened]:
                line.close()
            self._opened.clear()
            self._lock.close()


_lent: ContextVar[sqlite3.Connection] = ContextVar("_lent")


@functools.cache
def _engine() -> Engine:
    """One for all stores of a process, and for its forks; it keeps no connection open.

    What SQLAlchemy has learned of the dialect and compiled of our statements lives in it: a child whose
    parent has used a store starts with all of it, which halves its way to the first message.
    """
    engine = create_engine("sqlite://", creator=_lent.get, poolclass=NullPool, pool_reset_on_return=None)
    # It begins and ends a transaction on the first connection it is lent, to find out what it is: not on ours,
    # which may be in the middle of one.
    with closing(sqlite3.connect(":memory:")) as stranger:
        lending = _lent.set(stranger)
        engine.connect().close()
        _lent.reset(lending)
    return engine


def _connect(path: Path) -> sqlite3.Connection:
    # Our own BEGIN and COMMIT only: with isolation_level None the driver adds none.
    connection = sqlite3.connect(
        f"file:{_quoted(path)}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


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
