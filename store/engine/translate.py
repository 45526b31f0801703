"""Translates errors of the SQLite driver into `StoreError`s, which keep the original as their cause."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from store import errors


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise a `StoreError` about the file at `path` in place of an error of the driver or of SQLAlchemy."""
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
