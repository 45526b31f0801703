"""Room on the disk, copies of the store, forgetting, staying awake: what keeps a crew healthy for months."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from actors.disk import MB, DiskWatch, free_space
from actors.home import Home
from actors.settings import Config
from store import crew, errors, facts, history, inbox, incidents, journal, tasks, timers
from store.engine import Fence, Store
from store.entries import ReplyBody
from store.rows import Usage
from store.states import Activity, GateVerdict, IncidentKind, IntentState, ProjectState, Role, TaskState
from store.upkeep import backup, checkup, retention
from supervisor.upkeep import housekeeping
from supervisor.upkeep.inhibit import PROOF_S, Inhibitor
from supervisor.upkeep.jobs import LAST_START_FACT, Jobs
from tests.support.nights import PROJECT, Night, scripted_model
from tests.support.stand_ins import install
from tests.support.stores import (
    NOW,
    add_agent,
    add_project,
    drivers,
    make_file,
    new_incarnation,
    open_store,
    put,
)
from tests.support.waiting import eventually

DAY_S = 86_400.0
CONFIG = Config()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.make()
    make_file(made.store)
    return made


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    made = open_store(home.store)
    yield made
    made.close()


def _fill(store: Store, project: str, *, turns: int = 30) -> None:
    """A project that has worked: messages, history, intents, tasks, timers, incidents."""
    add_project(store, project)
    name = f"engineer-1.{project}"
    add_agent(store, name, role=Role.ENGINEER, project=project)
    fence = new_incarnation(store, name)
    with store.write() as tx:
        task = tasks.add(
            tx,
            project=project,
            title="t",
            description="",
            role=Role.ENGINEER,
            deliverable=1,
            by="pm",
            now=NOW,
        )
        tasks.record_gate_run(
            tx,
            task=task,
            commit="c",
            candidate=None,
            verdict=GateVerdict.FAILED,
            report={},
            started_at=1,
            ended_at=2,
        )
        timers.add(tx, recipient=name, note="", due_at=NOW, created_by="crew", now=NOW)
        incidents.record(tx, IncidentKind.TASK_PARKED, now=NOW, project=project)
        facts.put(tx, facts.base_checks(project), {}, now=NOW)
        for _ in range(turns):
            message = put(tx, name)
            inbox.claim(tx, message, generation=1, now=NOW)
            inbox.acknowledge(tx, message, now=NOW)
            reply = history.append(tx, fence, ReplyBody("x" * 200), now=NOW)
            journal.intend(
                tx, fence, reply=reply.id, position=0, tool="shell", arguments={}, evidence={}, now=NOW
            )


def _archive(store: Store, project: str, at: float | None) -> None:
    with store.write() as tx:
        crew.set_project_state(tx, project, ProjectState.ARCHIVED)
        if at is not None:
            facts.put(tx, facts.archived_at(project), at, now=at)


def _sizes(store: Store) -> dict[str, int]:
    names = [
        row[0] for row in store.read().exec_driver_sql("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    own = [name for name in names if not name.startswith(("sqlite_", "insights", "alembic"))]
    return {
        name: int(store.read().exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()) for name in own
    }


# -- copies of the store -------------------------------------------------------------------------


def test_a_backup_taken_while_four_threads_write_is_sound_and_one_moment_of_the_store(
    home: Home, store: Store
) -> None:
    add_agent(store, "a")
    stop = threading.Event()
    waits: list[float] = []

    def write() -> None:
        while not stop.is_set():
            began = time.monotonic()
            with store.write() as tx:
                first = put(tx, "a")
                assert put(tx, "a", in_reply_to=first)
            waits.append(time.monotonic() - began)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(waits) > 200, "the store is busy")
    made = backup.back_up(home.store, home.backups, now=NOW)
    stop.set()
    for thread in threads:
        thread.join()
    copy = Store(made.path)
    count, answers = copy.read().exec_driver_sql("SELECT count(*), count(in_reply_to) FROM messages").one()
    copy.close()
    assert count == 2 * answers > 0, "no half of a transaction"
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.backups.stat().st_mode) == 0o700
    assert not list(home.backups.glob("*.partial"))


def test_the_last_seven_backups_are_kept(home: Home, store: Store) -> None:
    for day in range(10):
        backup.back_up(home.store, home.backups, now=NOW + day * DAY_S)
    ages = [found.at for found in backup.listed(home.backups)]
    assert ages == [NOW + day * DAY_S for day in range(9, 2, -1)]


def test_a_damaged_store_makes_no_backup_and_costs_no_older_one(home: Home, store: Store) -> None:
    _fill(store, "shop", turns=200)
    store.close()
    backup.back_up(home.store, home.backups, now=NOW)
    _damage(home.store)
    with pytest.raises(errors.StoreError):
        backup.back_up(home.store, home.backups, now=NOW + DAY_S)
    assert [found.at for found in backup.listed(home.backups)] == [NOW]
    assert not list(home.backups.glob("*.partial"))


def _damage(path: Path) -> None:
    """Overwrite the middle of the file, as a bad disk would; its header stays."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(20_000))


def test_a_checkup_finds_a_sound_store_sound_and_names_what_is_damaged(home: Home, store: Store) -> None:
    _fill(store, "shop", turns=200)
    sound = checkup.check(home.store)
    assert sound.problems == ()
    assert sound.wal_bytes > 0
    store.set_foreign_keys(on=False)
    with store.write() as tx:
        tx.connection.exec_driver_sql("UPDATE intents SET reply = 999999 WHERE id = 1")
    assert checkup.check(home.store).problems == ("row 1 of intents refers to no row of history",)
    store.close()
    _damage(home.store)
    assert _is_found_damaged(home.store)


def _is_found_damaged(path: Path) -> bool:
    """SQLite lists what it finds, or cannot go on."""
    with suppress(errors.StoreCorrupt):
        return checkup.check(path).problems != ()
    return True


# -- forgetting ----------------------------------------------------------------------------------


def test_an_old_archived_project_is_forgotten_whole_and_everything_else_stays(store: Store) -> None:
    _fill(store, "kept")
    alone = _sizes(store)
    _fill(store, "old", turns=1_500)
    _archive(store, "old", NOW)
    names = retention.expired(store, NOW + 1, now=NOW)
    pauses: list[float] = []
    assert names == ["old"]
    removed = retention.delete_projects(
        store, names, before=NOW - 1, between_batches=lambda: pauses.append(time.monotonic())
    )
    assert removed > 4_500
    assert len(pauses) > 9, "in small batches, with breaks between them"
    assert _sizes(store) == alone
    assert checkup.check(store.path).problems == ()


def test_live_and_recently_archived_projects_are_kept_and_so_are_those_archived_at_an_unknown_time(
    store: Store,
) -> None:
    for name in ("live", "lately", "unknown"):
        _fill(store, name, turns=1)
    _archive(store, "lately", NOW)
    _archive(store, "unknown", None)
    assert retention.expired(store, NOW - 1, now=NOW) == []
    assert retention.expired(store, NOW + 1, now=NOW) == ["lately", "unknown"], "from now on it is known"


def test_housekeeping_backs_up_deletes_old_rows_and_files_and_records_what_it_did(
    home: Home, store: Store
) -> None:
    now = NOW + 100 * DAY_S
    _fill(store, "old")
    _fill(store, "kept")
    _archive(store, "old", NOW)
    old, new = _outputs(home, "engineer-1.old", now), _outputs(home, "engineer-1.kept", now)
    log = home.logs / "engineer-1.kept.log"
    for path in (log, log.with_suffix(".log.3"), home.logs / "engineer-1.old.log", home.logs / "crew.log"):
        path.touch()
        os.utime(path, (NOW, NOW))
    stderr = home.logs / "zygote.stderr"
    stderr.write_bytes(b"x" * 11_000_000 + b"the end")
    done = housekeeping.run(home, CONFIG.retention, now=now)
    assert done["failures"] == []
    assert (home.backups / done["backup"]).exists()
    assert not old[0].exists()
    assert [path.exists() for path in new] == [False, True], "by age alone for those that are still here"
    assert sorted(path.name for path in home.logs.glob("*.log*")) == ["crew.log", "engineer-1.kept.log"]
    assert stderr.read_bytes().endswith(b"the end")
    assert stderr.stat().st_size < 100_000
    assert (facts.get(store, housekeeping.FACT) or {})["rows"] == done["rows"] > 90


def _outputs(home: Home, agent: str, now: float) -> tuple[Path, Path]:
    folder = home.spill(agent)
    folder.mkdir(parents=True)
    old, new = folder / "1-0.txt", folder / "2-0.txt"
    for path, at in ((old, NOW), (new, now)):
        path.touch()
        os.utime(path, (at, at))
    return old, new


def test_housekeeping_that_fails_in_part_is_an_incident_for_people_and_does_the_rest(
    home: Home, store: Store
) -> None:
    home.backups.write_text("a file where the folder should be")
    done = housekeeping.run(home, CONFIG.retention, now=NOW)
    assert len(done["failures"]) == 1
    assert done["files"] == 0
    (row,) = incidents.listed(store)
    assert (row.kind, row.needs_human) == ("housekeeping_failed", True)


def test_the_supervisor_starts_housekeeping_once_a_night_and_makes_up_for_one_it_slept_through(
    home: Home, store: Store
) -> None:
    jobs = Jobs(home, CONFIG, store)
    jobs.tick(time.monotonic())
    assert jobs.pids == set(), "a new crew's first night is yet to come"
    with store.write() as tx:
        facts.put(tx, LAST_START_FACT, time.time() - 2 * DAY_S, now=NOW)
    jobs = Jobs(home, CONFIG, store)
    monotonic = time.monotonic()
    jobs.tick(monotonic)
    assert len(jobs.pids) == 1

    def is_over() -> bool:
        jobs.tick(monotonic + 100)
        return not jobs.pids

    eventually(is_over, "housekeeping has ended", within_s=30)
    assert (facts.get(store, housekeeping.FACT) or {})["failures"] == []
    assert len(backup.listed(home.backups)) == 1
    jobs.stop()


# -- a store that grows --------------------------------------------------------------------------


def _hot_paths(store: Store, fence: Fence) -> None:
    """Every statement of a message's and a step's life."""
    name = fence.agent
    inbox.peek(store, name, now=NOW, least_priority=50)
    inbox.claimed(store, name)
    with store.write(fence) as tx:
        inbox.take_over(tx, name, fence.generation)
        message = put(tx, name, key="k", limit=10)
        inbox.claim(tx, message, generation=1, now=NOW)
        entry = history.append(tx, fence, ReplyBody(""), now=NOW)
        history.touch(tx, name, now=NOW)
        intent = journal.intend(
            tx, fence, reply=entry.id, position=0, tool="t", arguments={}, evidence={}, now=NOW
        )
        journal.end(tx, intent.id, IntentState.DONE, now=NOW)
        inbox.acknowledge(tx, message, now=NOW)
        tasks.current(tx, 1)
        tasks.amend(tx, 1, now=NOW, usage=Usage())
        tasks.move(tx, 1, TaskState.ASSIGNED, by="t", reason="", now=NOW)
        tasks.of_project(tx, "shop")
    journal.find(store, name, entry.id, 0)
    history.tail(store, name, 1)
    history.since(store, 1)
    history.by_ids(store, [1])
    history.newest(store, name, most=10)
    inbox.replies(store, message)
    inbox.get(store, message)
    tasks.gate_runs_of(store, 1)
    tasks.events(store, 1)
    timers.due(store, NOW)
    timers.next_due_at(store)
    facts.get(store, facts.SANDBOX)


def test_no_statement_of_a_step_reads_a_table_that_grows_from_end_to_end(store: Store) -> None:
    _fill(store, "shop")
    fence = Fence("engineer-1.shop", 1)
    seen: list[str] = []
    for driver in drivers(store):
        driver.set_trace_callback(seen.append)
    _hot_paths(store, fence)
    for driver in drivers(store):
        driver.set_trace_callback(None)
    statements = {sql for sql in seen if sql.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE"))}
    assert len(statements) > 20
    growing = ("messages", "history", "intents", "task_events", "gate_runs", "incidents")
    found = []
    for sql in statements:
        for row in store.read().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql.replace('%', '%%')}"):
            plan = str(row[3])
            if plan.startswith("SCAN") and any(f"SCAN {table}" in plan for table in growing):
                found.append((plan, sql))
    assert found == []


# -- a full mailbox ------------------------------------------------------------------------------


def test_a_full_mailbox_refuses_its_sender_with_what_to_do_and_takes_again_later(
    home: Home, store: Store
) -> None:
    from tests.support.command_line import command, environment, run

    add_agent(store, "orchestrator", role=Role.ORCHESTRATOR)
    with store.write() as tx:
        body = '{"kind": "text", "v": 1, "text": "hello"}'
        tx.connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO messages (sender, recipient, kind, body, priority, state, attempts, ready_at,"
            " created_at) SELECT 'human', 'orchestrator', 'text', ?, 50, 'ready', 0, 0, 0 FROM n",
            (inbox.MAILBOX_LIMIT, body),
        )

    def send() -> Any:
        words = command("--home", str(home.path), "send", "orchestrator", "hello")
        return run(words, home.path, environment(home.path))

    refused = send()
    assert refused.code == 1
    assert "has 10000 unread messages" in refused.err
    assert "nightcrew info orchestrator" in refused.err
    with store.write() as tx:
        inbox.withdraw(tx, 1, reason="", now=NOW)
    assert send().code == 0


# -- room on the disk ----------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """32 MB of memory as a disk of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("LOUD: only root can mount a small disk; the wait for room was not tried")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"LOUD: no small disk here ({done.stderr.decode().strip()}); the wait was not tried")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_is_short_below_the_limit_and_again_good_a_tenth_above_it(small_disk: Path) -> None:
    watch = DiskWatch([small_disk, small_disk / "missing"], 10)
    ballast = small_disk / "ballast"
    assert watch.check() is None
    ballast.write_bytes(bytes(26 * MB))
    assert watch.check() is not None
    ballast.write_bytes(bytes(23 * MB))
    assert watch.check() is not None, "10.5 MB are no more than the limit and a tenth"
    ballast.write_bytes(bytes(20 * MB))
    assert watch.check() is None
    assert DiskWatch([small_disk], 0).check() is None, "0 never waits"


def test_a_crew_pauses_while_the_disk_is_nearly_full_reports_it_and_resumes(
    small_disk: Path, tmp_path: Path
) -> None:
    ballast = small_disk / "ballast"
    with scripted_model() as url:
        night = Night(small_disk, url, environment={"NIGHTCREW_RETENTION_MIN_FREE_MB": "12"})
        night.prepare()
        try:
            ballast.write_bytes(bytes(room_left(small_disk) - 9 * MB))
            night.start()
            manager = f"pm.{PROJECT}"
            eventually(
                lambda: crew.agent(night.store, manager).activity == Activity.NO_SPACE,
                "the manager waits",
                within_s=20,
            )
            eventually(lambda: facts.get(night.store, facts.DISK_SHORT), "it is said")
            assert [row.needs_human for row in incidents.listed(night.store) if row.kind == "disk_short"]
            assert tasks.of_project(night.store, PROJECT) == []
            ballast.unlink()
            night.play()
            assert {row.state for row in tasks.of_project(night.store, PROJECT)} == {TaskState.MERGED}
            eventually(lambda: facts.get(night.store, facts.DISK_SHORT) is None, "it is over", within_s=20)
            assert night.stop() == 0
        finally:
            night.close()


def room_left(path: Path) -> int:
    found = free_space(path)
    assert found is not None
    return found.free_bytes


# -- staying awake -------------------------------------------------------------------------------


def test_the_machine_is_kept_awake_while_wanted_and_by_no_longer_than_the_supervisor_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = install(tmp_path, "systemd-inhibit", script='for last; do :; done; exec "$last"')
    monkeypatch.setattr("supervisor.upkeep.inhibit._tool", lambda: "systemd-inhibit")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    inhibitor = Inhibitor()
    assert inhibitor.tick(wanted=False, now=0).sleep_inhibited is False
    assert inhibitor.pid is None
    inhibitor.tick(wanted=True, now=1)
    assert inhibitor.tick(wanted=True, now=1 + PROOF_S).sleep_inhibited is True
    eventually(log.exists, "it was asked")
    assert "--what=idle:sleep" in log.read_text()
    process = inhibitor._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()  # as when the supervisor is killed
    assert process.wait(10) == 0
    assert inhibitor.tick(wanted=True, now=10).sleep_inhibited is False
    inhibitor.release()
    inhibitor.release()


def test_a_refused_or_missing_sleep_inhibitor_is_reported_and_not_retried_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = install(tmp_path, "systemd-inhibit", script="echo no bus >&2; exit 1")
    monkeypatch.setattr("supervisor.upkeep.inhibit._tool", lambda: "systemd-inhibit")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    inhibitor = Inhibitor()

    def is_refused() -> bool:
        return inhibitor.tick(wanted=True, now=1).reason == "systemd-inhibit: no bus"

    eventually(is_refused, "the refusal is seen")
    for now in range(2, 500):
        assert not inhibitor.tick(wanted=True, now=now).sleep_inhibited
    assert len(log.read_text().splitlines()) == 1
    monkeypatch.setattr("supervisor.upkeep.inhibit._tool", lambda: "no-such-tool")
    assert Inhibitor().tick(wanted=True, now=0).reason == "no-such-tool is not installed"
    assert Inhibitor(enabled=False).tick(wanted=True, now=0).reason.startswith("switched off")
