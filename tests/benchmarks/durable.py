"""Durable messages a second: claimed, then one transaction with the ack, two rows of 1 kB and one message out.

The limit is the sqlite3 module with the same statements in two transactions, both FULL, without a lock, a fence
or any code around them; once more with the claim unsynced as ours is, and sixteen at once behind the same kind
of lock. (In a busy mailbox ours claims with the acknowledgement before: one transaction a message, and still no
message is handled that was not claimed.) huey puts, gets and acknowledges, and writes no history.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import multiprocessing
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import column, text

from store.engine.prepared import Query
from store.upkeep import migrate
from tests.benchmarks.crew import PATIENCE_S, BenchCrew, BenchmarkFailed, open_crew
from tests.benchmarks.kinds import CLERK, ROW_TEXT
from tests.benchmarks.peers import environment
from tests.benchmarks.rows import Beside, Row, at_least_times, at_most, at_most_times, median
from tests.support.waiting import eventually

ROUNDS = 3


def _pair(recipient: str, handled_at: float) -> tuple[str, float]:
    return recipient, handled_at


LEFT = Query(
    text(
        "SELECT count(*) AS count FROM messages WHERE recipient LIKE 'clerk-%' "
        "AND state IN ('ready', 'claimed')"
    ).columns(column("count")),
    int,
)
HANDLED = Query(
    text(
        "SELECT recipient, handled_at FROM messages WHERE id > :after AND recipient LIKE 'clerk-%' "
        "AND handled_at IS NOT NULL ORDER BY handled_at"
    ).columns(column("recipient"), column("handled_at")),
    _pair,
)


def measure(quick: bool) -> Iterator[Row]:
    count = 300 if quick else 3000
    raws: list[float] = []
    unsynced: list[float] = []
    ours: list[float] = []
    hueys: list[float] = []
    with open_crew() as bench, tempfile.TemporaryDirectory() as folder:
        bench.up()
        bench.add(["clerk-0"], CLERK)
        bench.running(["clerk-0"])
        for number in range(1 if quick else ROUNDS):
            raws.append(raw_rate(Path(folder) / f"raw-{number}.db", count))
            unsynced.append(raw_rate(Path(folder) / f"unsynced-{number}.db", count, claim="NORMAL"))
            ours.append(_rate(_work_off(bench, 1, count)))
            hueys += _huey(count, folder)
        one = median(ours)
        name = "durable messages handled a second, FULL"
        raw = Beside("sqlite3 module, same transactions", median(raws))
        yield Row(f"{name}, 1 agent", one, "/s", raw, "share", at_least_times(0.65))
        raw = Beside("sqlite3 module, claim unsynced as ours", median(unsynced))
        yield Row(f"{name}, 1 agent", one, "/s", raw, "share")
        if hueys:
            huey = Beside("huey: put + get + ack", median(hueys))
            yield Row(f"{name}, 1 agent", one, "/s", huey, "share", at_least_times(1))
        bench.add([f"clerk-{n}" for n in range(1, 16)], CLERK)
        bench.running([f"clerk-{n}" for n in range(16)])
        handled = _work_off(bench, 16, count // 8)
        crowd = raw_crowd_rate(Path(folder) / "crowd.db", 16, count // 8)
    yield from _sixteen(name, handled, one)
    alone = Beside("the same by 1 process", median(unsynced))
    yield Row("sqlite3 module, 16 processes behind one lock", crowd, "/s", alone, "share")


def _huey(count: int, folder: str) -> list[float]:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        return environment.run("huey", [str(count), own]) or []


def _sixteen(name: str, handled: dict[str, list[float]], one: float) -> Iterator[Row]:
    """While all sixteen are at it: the total, each one's share and the longest that one had to wait."""
    begin = max(times[0] for times in handled.values())
    end = min(times[-1] for times in handled.values())
    within = {who: [at for at in times if begin <= at <= end] for who, times in handled.items()}
    shares = [len(times) for times in within.values()]
    if min(shares) < 2:
        raise BenchmarkFailed("the sixteen did not work at the same time")
    total = sum(shares) / (end - begin)
    gaps = [b - a for times in within.values() for a, b in itertools.pairwise(times)]
    yield Row(
        f"{name}, 16 agents in all", total, "/s", Beside("ours, 1 agent", one), "share", at_least_times(1)
    )
    yield Row("16 agents: longest from one message to the next", max(gaps) * 1000, "ms", bar=at_most(500))
    slowest = Beside("the slowest of them", min(shares))
    yield Row("16 agents: messages of the fastest", max(shares), "", slowest, "share", at_most_times(2))


def _rate(handled: dict[str, list[float]]) -> float:
    times = sorted(at for own in handled.values() for at in own)
    return (len(times) - 1) / (times[-1] - times[0])


def _work_off(bench: BenchCrew, agents: int, each: int) -> dict[str, list[float]]:
    """Give `each` messages to each clerk in one transaction; when each message was handled."""
    names = [f"clerk-{n}" for n in range(agents)]
    ids = bench.post([name for _ in range(each) for name in names], "work")
    values = {"after": ids[0] - 1}
    eventually(lambda: bench.store.first(LEFT) == 0, "all is worked off", every_s=0.3, within_s=PATIENCE_S)
    handled: dict[str, list[float]] = {}
    for recipient, handled_at in bench.store.fetch(HANDLED, values):
        handled.setdefault(recipient, []).append(handled_at)
    return handled


def raw_rate(path: Path, count: int, *, claim: str = "FULL") -> float:
    """Messages a second of the bare module; `path` becomes a store of its own."""
    _fill(path, 1, count)
    connection = _open(path)
    began = time.perf_counter()
    for _ in range(count):
        _raw_message(connection, "clerk-0", claim)
    rate = count / (time.perf_counter() - began)
    connection.close()
    return rate


def raw_crowd_rate(path: Path, processes: int, each: int) -> float:
    """The same by several processes at once, who queue for their transactions on a flock as ours do."""
    _fill(path, processes, each)
    fork = multiprocessing.get_context("fork")
    start, spans = fork.Event(), fork.Queue()

    def work(number: int) -> None:
        connection = _open(path)
        with path.with_suffix(".lock").open("w") as lock:
            start.wait()
            began = time.time()
            for _ in range(each):
                _raw_message(connection, f"clerk-{number}", "NORMAL", lock.fileno())
        spans.put((began, time.time()))

    crowd = [fork.Process(target=work, args=(number,)) for number in range(processes)]
    for process in crowd:
        process.start()
    start.set()
    times = [spans.get(timeout=120) for _ in crowd]
    for process in crowd:
        process.join()
    took_s = max(end for _, end in times) - min(began for began, _ in times)
    return float(processes * each / took_s)


_ADD = (
    "INSERT INTO messages (sender, recipient, kind, body, priority, state, attempts, ready_at, created_at) "
    "VALUES (?, ?, 'text', ?, 50, 'ready', 0, ?, ?)"
)
_PEEK = (
    "SELECT id, sender, recipient, kind, body, priority, state, attempts, key, in_reply_to, created_at "
    "FROM messages WHERE recipient = ? AND state = 'ready' AND ready_at <= ? AND priority >= 0 "
    "ORDER BY priority DESC, id LIMIT 1"
)
_CLAIM = "UPDATE messages SET state='claimed', claim_generation=1, claimed_at=? WHERE id=? AND state='ready'"
_ENTRY = "INSERT INTO history (agent, kind, body, message, generation, created_at) VALUES (?, ?, ?, ?, 1, ?)"
_ACKNOWLEDGE = "UPDATE messages SET state='handled', handled_at=? WHERE id=? AND state='claimed'"
_BODY = json.dumps({"v": 1, "kind": "text", "text": "work"})


def _fill(path: Path, clerks: int, each: int) -> None:
    migrate.ensure(path)
    connection = _open(path)
    now = time.time()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_ADD, [("human", f"clerk-{n}", _BODY, now, now) for n in range(clerks)] * each)
    connection.execute("COMMIT")
    connection.close()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _raw_message(connection: sqlite3.Connection, clerk: str, claim: str, lock: int | None = None) -> None:
    now = time.time()
    found = connection.execute(_PEEK, (clerk, now)).fetchone()
    with _held(lock):
        if claim != "FULL":
            connection.execute(f"PRAGMA synchronous={claim}")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_CLAIM, (now, found[0]))
        connection.execute("COMMIT")
        if claim != "FULL":
            connection.execute("PRAGMA synchronous=FULL")
    json.loads(found[4])
    with _held(lock):
        connection.execute("BEGIN IMMEDIATE")
        for kind in ("reply", "tool_result"):
            body = json.dumps({"text": ROW_TEXT})
            connection.execute(_ENTRY, (clerk, kind, body, found[0], now))
        connection.execute(_ADD, (clerk, "human", _BODY, now, now))
        connection.execute(_ACKNOWLEDGE, (now, found[0]))
        connection.execute("COMMIT")


@contextmanager
def _held(lock: int | None) -> Iterator[None]:
    if lock is not None:
        fcntl.flock(lock, fcntl.LOCK_EX)
    yield
    if lock is not None:
        fcntl.flock(lock, fcntl.LOCK_UN)
