"""The store's file: how it is made, what is in force in it, and what is refused and left as it was."""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from store import errors
from store.engine import Store
from store.schema import APPLICATION_ID, SCHEMA_VERSION, metadata
from store.upkeep import migrate

WELL_KNOWN_FTS = re.compile(r"insights_(fts|added|removed)")


def _digests(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
        if file.is_file()
    }


def _schema(path: Path) -> dict[str, str]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {
        name: " ".join(sql.replace('"', "").split()).replace("( ", "(").replace(" )", ")")
        for name, sql in rows
        if not WELL_KNOWN_FTS.match(name) and name != "alembic_version"
    }


def test_all_migrations_together_equal_the_declared_schema(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)

    def ours(thing: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
        # Alembic cannot compare an index with an expression (priority DESC): the next test compares its SQL.
        if kind == "index" and name == "ix_messages_mailbox":
            return False
        return not (kind == "table" and name is not None and WELL_KNOWN_FTS.match(name))

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_object": ours, "compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def test_migrated_and_declared_tables_have_the_same_sql_down_to_partial_indexes(
    path: Path, tmp_path: Path
) -> None:
    declared = tmp_path / "declared.db"
    engine = create_engine(f"sqlite:///{declared}", poolclass=NullPool)
    metadata.create_all(engine)
    migrated_sql, declared_sql = _schema(path), _schema(declared)
    assert migrated_sql.keys() == declared_sql.keys()
    for name, sql in declared_sql.items():
        assert sorted(re.split(r"[,()]\s*", migrated_sql[name])) == sorted(re.split(r"[,()]\s*", sql)), name


def test_every_connection_has_wal_full_and_foreign_keys_in_force(store: Store) -> None:
    with store.write() as tx:
        for connection in (store.read(), tx.connection):
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
            assert pragmas == {
                "journal_mode": "wal",
                "synchronous": 2,
                "foreign_keys": 1,
                "busy_timeout": 30_000,
            }


def test_a_row_without_its_parent_is_refused(store: Store) -> None:
    with pytest.raises(errors.StoreError, match="FOREIGN KEY"), store.write() as tx:
        tx.connection.exec_driver_sql(
            "INSERT INTO task_events (task, source, target, by, reason, created_at) VALUES (99,'','','','',0)"
        )


def test_file_folder_and_everything_beside_it_are_private_to_the_user(tmp_path: Path) -> None:
    path = tmp_path / "fresh" / "crew.db"
    migrate.ensure(path)
    store = Store(path)
    with store.write() as tx:
        tx.connection.exec_driver_sql("INSERT INTO facts VALUES ('a', '1', 0)")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {"crew.db", "crew.db-wal", "crew.db-shm", "crew.lock"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    store.close()


def test_an_open_folder_becomes_private_when_the_store_is_made_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    migrate.ensure(folder / "crew.db")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_ensure_leaves_an_up_to_date_store_byte_identical(path: Path) -> None:
    before = _digests(path.parent)
    migrate.ensure(path)
    assert _digests(path.parent) == before


def test_making_the_store_leaves_no_partial_file_behind(tmp_path: Path) -> None:
    migrate.ensure(tmp_path / "home" / "crew.db")
    assert [file.name for file in (tmp_path / "home").iterdir()] == ["crew.db"]


def test_a_path_with_percent_hash_question_mark_and_umlauts_works(tmp_path: Path) -> None:
    path = tmp_path / "50% #1 was? äöü" / "crew.db"
    migrate.ensure(path)
    store = Store(path)
    with store.write() as tx:
        tx.connection.exec_driver_sql("INSERT INTO facts VALUES ('a', '1', 0)")
    store.close()
    assert [file.name for file in sorted(path.parent.iterdir())] == ["crew.db", "crew.lock"]


# -- refused, and left as it was -----------------------------------------------------------------


def test_a_missing_store_is_said_to_be_missing_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(errors.StoreMissing, match="nightcrew run SPEC"):
        Store(tmp_path / "crew.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"just some notes\n", b"\x7fELF" + bytes(5000), b"SQLite format 3\x00" + b"\xff" * 4080]
)
def test_a_file_that_is_no_database_is_foreign_and_stays_byte_identical(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "crew.db"
    path.write_bytes(content)
    before = _digests(tmp_path)
    for open_it in (Store, migrate.ensure):
        with pytest.raises((errors.StoreForeign, errors.StoreCorrupt)):
            open_it(path)
    assert _digests(tmp_path) == before


def test_another_programs_database_is_foreign_and_stays_byte_identical(tmp_path: Path) -> None:
    path = tmp_path / "crew.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE their_data (a)")
    connection.execute("PRAGMA user_version=1")
    connection.commit()
    connection.close()
    before = _digests(tmp_path)
    for open_it in (Store, migrate.ensure):
        with pytest.raises(errors.StoreForeign, match="NIGHTCREW_HOME"):
            open_it(path)
    assert _digests(tmp_path) == before


def test_another_programs_database_with_an_unfinished_wal_stays_byte_identical(tmp_path: Path) -> None:
    """As after that program's crash: a plain open and close of ours would fold its WAL into its file."""
    home = tmp_path / "theirs"
    home.mkdir()
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('PRAGMA journal_mode=WAL'); c.execute('CREATE TABLE their_data (a)'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(home / "crew.db")], check=True)
    assert (home / "crew.db-wal").stat().st_size > 0
    before = _digests(home)
    for open_it in (Store, migrate.ensure):
        with pytest.raises(errors.StoreForeign):
            open_it(home / "crew.db")
    after = _digests(home)
    assert {k: after.get(k) for k in ("crew.db", "crew.db-wal")} == {
        k: before[k] for k in ("crew.db", "crew.db-wal")
    }


def _set_pragma(path: Path, name: str, value: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA {name}={value}")
    connection.close()


def test_a_newer_store_is_refused_with_what_to_do_and_stays_byte_identical(path: Path) -> None:
    _set_pragma(path, "user_version", SCHEMA_VERSION + 1)
    before = _digests(path.parent)
    for open_it in (Store, migrate.ensure):
        with pytest.raises(errors.StoreVersionMismatch, match="update Nightcrew"):
            open_it(path)
    assert _digests(path.parent) == before


def test_an_older_store_is_refused_by_readers_and_stays_byte_identical(path: Path) -> None:
    _set_pragma(path, "user_version", 0)
    before = _digests(path.parent)
    with pytest.raises(errors.StoreVersionMismatch, match="nightcrew up"):
        Store(path)
    assert _digests(path.parent) == before


def test_a_truncated_store_is_refused_and_stays_byte_identical(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])
    before = path.read_bytes()
    for open_it in (Store, migrate.ensure):
        with pytest.raises(errors.StoreCorrupt):
            open_it(path)
    assert path.read_bytes() == before


def test_a_store_with_a_damaged_schema_is_corrupt_at_its_opening_and_stays_byte_identical(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(errors.StoreCorrupt, match="backup"):
        Store(path)
    assert path.read_bytes() == before


def test_a_store_with_one_damaged_table_is_corrupt_at_its_touch_and_stays_byte_identical(path: Path) -> None:
    connection = sqlite3.connect(path)
    page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'facts'").fetchone()[0]
    connection.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    store = Store(path)
    with pytest.raises(errors.StoreCorrupt, match="backup"):
        store.select(metadata.tables["facts"].select(), tuple)
    with pytest.raises(errors.StoreCorrupt), store.write() as tx:
        tx.connection.exec_driver_sql("INSERT INTO facts VALUES ('a', '1', 0)")
    assert store.select(metadata.tables["tasks"].select(), tuple) == []
    store.close()
    assert path.read_bytes() == bytes(content)


def test_a_folder_in_the_stores_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "crew.db").mkdir()
    with pytest.raises(errors.StoreError):
        Store(tmp_path / "crew.db")


def test_our_header_identifies_our_file(path: Path) -> None:
    header = path.read_bytes()[:100]
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID
    assert int.from_bytes(header[60:64], "big") == SCHEMA_VERSION


def test_a_backup_copied_over_the_store_opens(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    Store(copy).close()
