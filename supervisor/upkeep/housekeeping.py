"""The nightly housekeeping: back up the store, then delete old rows and files.

A process of its own (`python -m supervisor.upkeep.housekeeping HOME CONFIG_JSON`), so that neither the
supervisor nor the timer waits for a disk. It ends with the supervisor, whose end closes its standard input.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from actors import log
from actors.disk import MB, free_space
from actors.errors import ActorLocked
from actors.home import Home, file_name
from actors.runtime.process import hold_lock
from actors.settings import Config, RetentionSettings
from store import crew, facts, incidents
from store.engine import Store
from store.errors import StoreError
from store.facts import Fact
from store.states import IncidentKind
from store.upkeep import backup, retention

NAME = "housekeeping"
FACT = Fact[dict[str, Any]]("housekeeping")  # what the latest run did
DAY_S = 86_400.0
BATCH_PAUSE_S = 0.01
STDERR_TAIL_BYTES = 65_536


def run(home: Home, config: RetentionSettings, *, now: float) -> dict[str, Any]:
    """Do everything; returns what was done, and stores it as the fact `housekeeping`.

    `now` in UTC seconds. A step that fails becomes an incident for people, and the other steps are still done.
    """
    store = Store(home.store)
    done: dict[str, Any] = {"at": now, "failures": []}
    try:
        _attempt(done, "backup", lambda: _back_up(home, config, now))
        _attempt(done, "rows", lambda: _delete_old_projects(home, store, config, now))
        _attempt(done, "files", lambda: remove_old_files(home, config, _writers(store), now=now))
        with store.write() as tx:
            facts.put(tx, FACT, done, now=now)
            for failure in done["failures"]:
                incidents.record(
                    tx, IncidentKind.HOUSEKEEPING_FAILED, now=now, needs_human=True, reason=failure
                )
    finally:
        store.close()
    log.info("housekeeping_done", **{key: value for key, value in done.items() if key != "at"})
    return done


def _attempt(done: dict[str, Any], name: str, act: Callable[[], Any]) -> None:
    try:
        done[name] = act()
    except (StoreError, OSError) as error:
        done[name] = None
        done["failures"].append(f"{name}: {error}")
        log.error("housekeeping_failed", step=name, reason=str(error))


def _back_up(home: Home, config: RetentionSettings, now: float) -> str:
    """Copy the store; returns the copy's file name. Raises `StoreError` if the disk would become too full."""
    room = free_space(home.path)
    needed = home.store.stat().st_size + config.min_free_mb * MB
    if room is not None and room.free_bytes < needed:
        raise StoreError(
            f"{home.path}: no backup was made: {room.free_bytes // MB} MB are free and {needed // MB} MB are "
            "needed; free some disk space"
        )
    return backup.back_up(home.store, home.backups, now=now).path.name


def _delete_old_projects(home: Home, store: Store, config: RetentionSettings, now: float) -> int:
    before = now - config.days * DAY_S
    names = retention.expired(store, before, now=now)
    teams = [row.name for name in names for row in crew.team_of(store, name)]
    count = retention.delete_projects(
        store, names, before=before, between_batches=lambda: time.sleep(BATCH_PAUSE_S)
    )
    for agent in teams:
        shutil.rmtree(home.spill(agent), ignore_errors=True)
    if names:
        log.info("projects_forgotten", projects=names, rows=count)
    return count


def _writers(store: Store) -> set[str]:
    """Names of the processes whose files may still be written to: all agents, and the crew's own processes."""
    return {file_name(row.name) for row in crew.all_agents(store)} | {"supervisor", "zygote", "crew", NAME}


def remove_old_files(home: Home, config: RetentionSettings, writers: set[str], *, now: float) -> int:
    """Delete old files of tool outputs, and old logs and windows that no process writes to; returns how many.

    `writers` are the names of the processes that may still write. Long files of stderr are cut to their end.
    """
    count = 0
    for path in _old_files(home, config, writers, now):
        path.unlink(missing_ok=True)
        count += 1
    for folder in sorted(home.outputs.glob("**/"), reverse=True):
        if folder != home.outputs and not any(folder.iterdir()):
            folder.rmdir()
    for path in home.logs.glob("*.stderr"):
        if path.stat().st_size > config.log_mb * MB:
            _truncate_to_end(path)
    return count


def _old_files(home: Home, config: RetentionSettings, writers: set[str], now: float) -> Iterator[Path]:
    for path in home.outputs.rglob("*"):
        if path.is_file() and _age_s(path, now) > config.days * DAY_S:
            yield path
    for path in home.logs.iterdir():
        is_rotated = path.suffix.lstrip(".").isdigit()
        is_orphan = not is_rotated and path.stem not in writers and not path.name.startswith(".")
        if path.is_file() and (is_rotated or is_orphan) and _age_s(path, now) > config.log_days * DAY_S:
            yield path
    for path in home.windows.rglob("*"):
        if path.is_file() and _age_s(path, now) > config.log_days * DAY_S and path.stem not in writers:
            yield path


def _age_s(path: Path, now: float) -> float:
    return now - path.lstat().st_mtime


def _truncate_to_end(path: Path) -> None:
    """Cut the file in place, so that a process that has it open for appending continues at its new end."""
    with path.open("r+b") as file:
        file.seek(-STDERR_TAIL_BYTES, os.SEEK_END)
        tail = file.read()
        file.truncate(0)
        file.seek(0)
        file.write(tail)


def _exit_with_supervisor() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # safe at any moment: an unfinished copy or batch counts as not done


def main(home_path: str, config_json: str) -> None:
    """The process's entry point. Does nothing if another housekeeping process of this home is running."""
    from setproctitle import setproctitle

    threading.Thread(target=_exit_with_supervisor, daemon=True).start()
    setproctitle(f"nightcrew: {NAME}")
    os.nice(5)
    home, config = Home(Path(home_path)), Config.from_json(config_json)
    log.configure(NAME, home.logs, level="INFO", stderr=False)
    try:
        lock = hold_lock(home, NAME, 0.0)
    except ActorLocked:
        return
    try:
        run(home, config.retention, now=time.time())
    finally:
        os.close(lock)


if __name__ == "__main__":
    main(*sys.argv[1:])
