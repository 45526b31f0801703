"""Checks whether a file is a Nightcrew store of this version, without writing to it."""

from __future__ import annotations

from pathlib import Path

from store import errors
from store.engine.connection import check_readable, connect
from store.engine.translate import translated
from store.schema import APPLICATION_ID, SCHEMA_VERSION

_HEADER_BYTES = 100


def check_header(path: Path) -> None:
    """Raise the `StoreError` that says why `path` is not a store of this version; writes nothing."""
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
    """As `check_header`; also raise if the rest of the file is not a database or is damaged. Writes nothing."""
    check_header(path)
    with translated(path):
        connection = connect(path)
        try:
            check_readable(connection)
        finally:
            connection.close()


def read_header(path: Path) -> tuple[int, int]:
    """Application id and schema version from the file's first 100 bytes (sqlite.org/fileformat.html, 1.3).

    The file is not opened as a database, because that would write to a foreign file that has an unfinished
    WAL. Raises `StoreMissing`, `StoreForeign` or `StoreUnwritable`.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError as error:
        raise errors.StoreMissing(
            f"no crew yet ({path} does not exist); start one with `nightcrew run SPEC`"
        ) from error
    except OSError as error:
        raise errors.StoreUnwritable(f"{path}: {error.strerror}; make the crew's home yours") from error
    if len(header) < _HEADER_BYTES or not header.startswith(b"SQLite format 3\0"):
        return 0, 0
    return int.from_bytes(header[68:72], "big"), int.from_bytes(header[60:64], "big")
