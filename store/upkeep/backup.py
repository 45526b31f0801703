"""Backups of the store, taken while it is in use and checked before they count.

The whole copy is one step of SQLite's backup: it reads one snapshot and blocks no writer. In several steps it
would start again after each commit in between, and might never end while the crew works.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from store import errors
from store.engine.translate import translated

KEPT = 7
_PARTIAL = "*.partial"


@dataclass(frozen=True, slots=True)
class Backup:
    """One complete backup; `at` in UTC seconds."""

    path: Path
    at: float
    size_bytes: int


def back_up(store: Path, folder: Path, *, now: float, kept: int = KEPT) -> Backup:
    """Copy the store at `store` into `folder`, which is made private, and keep the newest `kept` copies.

    Raises `StoreUnwritable` if the disk is full, `BackupFailed` if the copy is damaged. Then no backup is added
    and none is removed.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in folder.glob(_PARTIAL):
            leftover.unlink(missing_ok=True)
        path = folder / f"crew-{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}.db"
        partial = path.with_suffix(".partial")
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise errors.StoreUnwritable(f"{folder}: {error.strerror}; make the crew's home writable") from error
    try:
        _copy(store, partial)
        _check(partial)
        _sync(partial)
        partial.replace(path)
        _sync(folder)
    except OSError as error:
        raise errors.StoreUnwritable(f"{partial}: {error.strerror}; free some disk space") from error
    finally:
        partial.unlink(missing_ok=True)
    for old in listed(folder)[kept:]:
        old.path.unlink(missing_ok=True)
    return Backup(path, now, path.stat().st_size)


def listed(folder: Path) -> list[Backup]:
    """The complete backups in `folder`, newest first."""
    found = []
    for path in sorted(folder.glob("crew-*.db"), reverse=True):
        try:
            at = datetime.strptime(path.stem, "crew-%Y%m%d-%H%M%S").replace(tzinfo=UTC)
            found.append(Backup(path, at.timestamp(), path.stat().st_size))
        except (ValueError, OSError):
            continue  # not a backup, or deleted in the meantime
    return found


def _copy(store: Path, target: Path) -> None:
    with (
        translated(store),
        closing(_open(store, "mode=ro")) as source,
        translated(target),  # from here on a full disk is the copy's
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy, pages=-1)


def _check(path: Path) -> None:
    # immutable: the header says WAL, but a copy that nobody writes to needs none.
    with closing(_open(path, "mode=ro&immutable=1")) as connection:
        try:
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.Error as error:
            raise errors.BackupFailed(f"the copy {path.name} cannot be read: {error}") from error
    if answer != "ok":
        raise errors.BackupFailed(f"the copy {path.name} is damaged ({answer}); see `nightcrew doctor`")


def _open(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?{how}", uri=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
