"""The keeper: once a night it copies the store and clears away what is long over.

A short-lived process of its own (`python -m supervisor.keeper HOME CONFIG_JSON`), so that neither the
supervisor nor a timer waits for a disk. It ends with the supervisor: its standard input closes.
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
from actors.disk import MB, room_at
from actors.errors import ActorLocked
from actors.home import Home, safe
from actors.runtime.process import hold_lock
from actors.settings import Config, RetentionSettings
from store import backup, crew, incidents, retention
from store.engine import Store
from store.errors import StoreError

NAME = "keeper"
FACT = "keeper"
DAY_S = 86_400.0
BATCH_PAUSE_S = 0.01
STDERR_TAIL_BYTES = 65_536


def keep(home: Home, config: RetentionSettings, *, now: float) -> dict[str, Any]:
    """The whole night's work; returns (and keeps as the fact `keeper`) what was done. What fails is an
    incident for people, and does not keep the rest from being done."""
    store = Store(home.store)
    done: dict[str, Any] = {"at": now, "failures": []}
    try:
        _try(done, "backup", lambda: _back_up(home, config, now))
        _try(done, "rows", lambda: _forget(home, store, config, now))
        _try(done, "files", lambda: remove_old_files(home, config, _known(store), now=now))
        with store.write() as tx:
            incidents.set_fact(tx, FACT, done, now=now)
            for failure in done["failures"]:
                incidents.record(tx, "housekeeping_failed", now=now, needs_human=True, reason=failure)
    finally:
        store.close()
    log.info("night_kept", **{key: value for key, value in done.items() if key != "at"})
    return done


def _try(done: dict[str, Any], name: str, act: Callable[[], Any]) -> None:
    try:
        done[name] = act()
    except (StoreError, OSError) as error:
        done[name] = None
        done["failures"].append(f"{name}: {error}")
        log.error("housekeeping_failed", what=name, reason=str(error))


def _back_up(home: Home, config: RetentionSettings, now: float) -> str:
    """Not at the price of a full disk: then the older copies have to do."""
    room = room_at(home.path)
    needed = home.store.stat().st_size + config.min_free_mb * MB
    if room is not None and room.free_bytes < needed:
        raise StoreError(
            f"{home.path}: {room.free_bytes // MB} MB are free and a copy of the store needs "
            f"{needed // MB}; free some disk space"
        )
    return backup.back_up(home.store, home.backups, now=now).path.name


def _forget(home: Home, store: Store, config: RetentionSettings, now: float) -> int:
    before = now - config.days * DAY_S
    names = retention.expired(store, before, now=now)
    teams = [row["name"] for name in names for row in crew.team_of(store, name)]
    count = retention.forget(store, names, before=before, between_batches=lambda: time.sleep(BATCH_PAUSE_S))
    for agent in teams:
        shutil.rmtree(home.spill(agent), ignore_errors=True)
    if names:
        log.info("projects_forgotten", projects=names, rows=count)
    return count


def _known(store: Store) -> set[str]:
    """File names of everyone who may still write: agents that are wanted, and the crew's own."""
    return {safe(row["name"]) for row in crew.all_agents(store)} | {"supervisor", "zygote", "crew", NAME}


def remove_old_files(home: Home, config: RetentionSettings, known: set[str], *, now: float) -> int:
    """Spilled outputs as old as archived projects may get, logs and windows nobody writes to; how many."""
    count = 0
    for path in _old_files(home, config, known, now):
        path.unlink(missing_ok=True)
        count += 1
    for folder in sorted(home.outputs.glob("**/"), reverse=True):
        if folder != home.outputs and not any(folder.iterdir()):
            folder.rmdir()
    for path in home.logs.glob("*.stderr"):
        if path.stat().st_size > config.log_mb * MB:
            _keep_the_end(path)
    return count


def _old_files(home: Home, config: RetentionSettings, known: set[str], now: float) -> Iterator[Path]:
    for path in home.outputs.rglob("*"):
        if path.is_file() and _age_s(path, now) > config.days * DAY_S:
            yield path
    for path in home.logs.iterdir():
        is_rotated = path.suffix.lstrip(".").isdigit()
        is_orphan = not is_rotated and path.stem not in known and not path.name.startswith(".")
        if path.is_file() and (is_rotated or is_orphan) and _age_s(path, now) > config.log_days * DAY_S:
            yield path
    for path in home.windows.rglob("*"):
        if path.is_file() and _age_s(path, now) > config.log_days * DAY_S and path.stem not in known:
            yield path


def _age_s(path: Path, now: float) -> float:
    return now - path.lstat().st_mtime


def _keep_the_end(path: Path) -> None:
    """In place: whoever appends to it goes on at its new end."""
    with path.open("r+b") as file:
        file.seek(-STDERR_TAIL_BYTES, os.SEEK_END)
        tail = file.read()
        file.truncate(0)
        file.seek(0)
        file.write(tail)


def _end_with_the_supervisor() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # in the middle of anything: a copy or a batch that was not finished never was


def main(home_path: str, config_json: str) -> None:
    """Entry of the process. A second keeper of a home does nothing."""
    from setproctitle import setproctitle

    threading.Thread(target=_end_with_the_supervisor, daemon=True).start()
    setproctitle(f"nightcrew: {NAME}")
    os.nice(5)
    home, config = Home(Path(home_path)), Config.from_json(config_json)
    log.configure(NAME, home.logs, level="INFO", stderr=False)
    try:
        lock = hold_lock(home, NAME, 0.0)
    except ActorLocked:
        return
    try:
        keep(home, config.retention, now=time.time())
    finally:
        os.close(lock)


if __name__ == "__main__":
    main(*sys.argv[1:])
