"""Creates and upgrades the store's file. Called by the supervisor and by commands that need a crew.

Importing Alembic takes 0.4 s, so it is imported only when there is something to do.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from store import errors
from store.engine.header import check_file, read_header
from store.engine.translate import translated
from store.schema import APPLICATION_ID, SCHEMA_VERSION


def ensure(path: Path) -> None:
    """Create the store at `path`, or upgrade it to this version. Raises a `StoreError`; then the file is untouched."""
    try:
        check_file(path)
    except errors.StoreMissing:
        _create(path)
    except errors.StoreVersionMismatch:
        if read_header(path)[1] > SCHEMA_VERSION:
            raise
        _upgrade(path)


def _create(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        partial = path.with_suffix(f".new-{os.getpid()}")
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise errors.StoreUnwritable(
            f"{path.parent}: {error.strerror}; make the crew's home writable"
        ) from error
    try:
        _upgrade(partial)
        # Renamed when complete, so that a crash leaves no half-made store behind. No WAL exists yet.
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    with translated(path):
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()


def _upgrade(path: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent.parent / "migrations").replace("%", "%%")
    )
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path), poolclass=NullPool)
    with translated(path), engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.commit()
        # Other processes read the version from the file's header, so it must not wait in the WAL.
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
