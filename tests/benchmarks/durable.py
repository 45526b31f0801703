"""Durable messages a second: claimed, then one transaction with the ack, two rows of 1 kB and one message out.

The limit is the sqlite3 module with the same statements in the same two transactions, without a lock, a fence
or any code around them. huey puts, gets and acknowledges, and writes no history.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import text

from store import migrate
from tests.benchmarks.crew import BenchCrew, BenchmarkFailed, open_crew, until
from tests.benchmarks.kinds import CLERK, ROW_TEXT
from tests.benchmarks.peers import environment
from tests.benchmarks.rows import Beside, Row, at_least_times, at_most, at_most_times, median

ROUNDS = 3
HANDLED = text(
    "SELECT recipient, handled_at FROM messages WHERE id > :after AND recipient LIKE 'clerk-%' "
    "AND handled_at IS NOT NULL ORDER BY handled_at"
)


def measure(quick: bool) -> Iterator[Row]:
    count = 300 if quick else 3000
    raws: list[float] = []
    ours: list[float] = []
    hueys: list[float] = []
    with open_crew() as bench, tempfile.TemporaryDirectory() as folder:
        bench.up()
        bench.add(["clerk-0"], CLERK)
        bench.running(["clerk-0"])
        for number in range(1 if quick else ROUNDS):
            raws.append(raw_rate(Path(folder) / f"raw-{number}.db", count))
            ours.append(_rate(_work_off(bench, 1, count)))
            hueys += _huey(count, folder)
        one = median(ours)
        name = "durable messages handled a second, FULL"
        raw = Beside("sqlite3 module, same transactions", median(raws))
        yield Row(f"{name}, 1 agent", one, "/s", raw, "share", at_least_times(0.65))
        if hueys:
            huey = Beside("huey: put + get + ack", median(hueys))
            yield Row(f"{name}, 1 agent", one, "/s", huey, "share", at_least_times(1))
        bench.add([f"clerk-{n}" for n in range(1, 16)], CLERK)
        bench.running([f"clerk-{n}" for n in range(16)])
        handled = _work_off(bench, 16, count // 8)
    yield from _sixteen(name, handled, one)


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
    until(lambda: len(bench.store.rows(HANDLED, values)) == len(ids), "all is worked off", every_s=0.3)
    handled: dict[str, list[float]] = {}
    for row in bench.store.rows(HANDLED, values):
        handled.setdefault(row["recipient"], []).append(row["handled_at"])
    return handled


def raw_rate(path: Path, count: int) -> float:
    """Messages a second of the bare module; `path` becomes a store of its own."""
    migrate.ensure(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    message = json.dumps({"v": 1, "kind": "text", "text": "work"})
    add = (
        "INSERT INTO messages (sender, recipient, kind, body, priority, state, attempts, ready_at, created_at) "
        "VALUES (?, ?, 'text', ?, 50, 'ready', 0, ?, ?)"
    )
    now = time.time()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(add, [("human", "clerk-0", message, now, now)] * count)
    connection.execute("COMMIT")
    began = time.perf_counter()
    for _ in range(count):
        _raw_message(connection, add, message)
    rate = count / (time.perf_counter() - began)
    connection.close()
    return rate


def _raw_message(connection: sqlite3.Connection, add: str, out: str) -> None:
    now = time.time()
    peek = (
        "SELECT id, sender, recipient, kind, body, priority, state, attempts, key, in_reply_to, created_at "
        "FROM messages WHERE recipient = 'clerk-0' AND state = 'ready' AND ready_at <= ? AND priority >= 0 "
        "ORDER BY priority DESC, id LIMIT 1"
    )
    found = connection.execute(peek, (now,)).fetchone()
    connection.execute("BEGIN IMMEDIATE")
    claim = (
        "UPDATE messages SET state='claimed', claim_generation=1, claimed_at=? WHERE id=? AND state='ready'"
    )
    connection.execute(claim, (now, found[0]))
    connection.execute("COMMIT")
    json.loads(found[4])
    connection.execute("BEGIN IMMEDIATE")
    row = "INSERT INTO history (agent, kind, body, message, generation, created_at) VALUES (?, ?, ?, ?, 1, ?)"
    for kind in ("reply", "tool_result"):
        connection.execute(row, ("clerk-0", kind, json.dumps({"text": ROW_TEXT}), found[0], now))
    connection.execute(add, ("clerk-0", "human", out, now, now))
    acknowledge = "UPDATE messages SET state='handled', handled_at=? WHERE id=? AND state='claimed'"
    connection.execute(acknowledge, (now, found[0]))
    connection.execute("COMMIT")
