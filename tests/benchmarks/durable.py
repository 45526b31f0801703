"""Messages handled a second, durably: by agents in whole turns, and by bare message actors as the limit.

A turn is what each message to an agent costs: one commit claims it and adds its row to the history; the request is
built and answered in process; one commit adds the reply of 1 kB and the answer, and acknowledges. The limit for
it is the sqlite3 module with the same rows in two transactions, without a lock, a fence or any code around them.

A bare actor handles each message in one commit, which also claims the next one. Beside it are the sqlite3 module
in two transactions, both FULL or with the claim unsynced as ours is, sixteen processes at once behind the same
kind of lock, and huey, which puts, gets and acknowledges, and writes no history.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import multiprocessing
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import column, text

from store.engine.prepared import Query
from store.states import Role
from store.upkeep import migrate
from tests.benchmarks.harness.crew import PATIENCE_S, BenchCrew, BenchmarkFailed, open_crew
from tests.benchmarks.harness.kinds import CANNED, CLERK, ROW_TEXT
from tests.benchmarks.harness.rows import Beside, Row, at_least_times, at_most, at_most_times, median
from tests.benchmarks.peers import environment
from tests.support.waiting import eventually

ROUNDS = 3


def _pair(recipient: str, handled_at: float) -> tuple[str, float]:
    return recipient, handled_at


LEFT = Query(
    text(
        "SELECT count(*) AS count FROM messages WHERE recipient != 'human' AND state IN ('ready', 'claimed')"
    ).columns(column("count")),
    int,
)
HANDLED = Query(
    text(
        "SELECT recipient, handled_at FROM messages WHERE id > :after AND recipient != 'human' "
        "AND handled_at IS NOT NULL ORDER BY handled_at"
    ).columns(column("recipient"), column("handled_at")),
    _pair,
)
TURNS = "agent's turns a second, FULL"
MESSAGES = "messages a second by a bare actor (the limit), FULL"
AGENTS = [f"agent-{n}" for n in range(16)]
CLERKS = [f"clerk-{n}" for n in range(16)]


def measure(quick: bool) -> Iterator[Row]:
    count, rounds = (300, 1) if quick else (3000, ROUNDS)
    with (
        open_crew(model={"preload": False, "slots": 16}) as bench,
        tempfile.TemporaryDirectory() as folder,
    ):
        bench.up()
        yield from _turns(bench, Path(folder), count // 5, rounds)
    with open_crew() as bench, tempfile.TemporaryDirectory() as folder:
        bench.up()
        yield from _messages(bench, Path(folder), count, rounds)


def _turns(bench: BenchCrew, folder: Path, count: int, rounds: int) -> Iterator[Row]:
    """Agents."""
    bench.add(AGENTS[:1], CANNED, role=Role.ORCHESTRATOR)
    bench.running(AGENTS[:1])
    turns = median([_rate(_work_off(bench, AGENTS[:1], count)) for _ in range(rounds)])
    raws = [raw_rate(folder / f"turn-{number}.db", count, turns=True) for number in range(rounds)]
    raw = Beside("sqlite3 module, same rows", median(raws))
    yield Row(f"{TURNS}, 1 agent", turns, "/s", raw, "share")
    bench.add(AGENTS[1:], CANNED, role=Role.ORCHESTRATOR)
    bench.running(AGENTS)
    yield from _sixteen(TURNS, _work_off(bench, AGENTS, max(20, count // 8)), turns)


def _messages(bench: BenchCrew, folder: Path, count: int, rounds: int) -> Iterator[Row]:
    """Bare message actors."""
    raws: list[float] = []
    unsynced: list[float] = []
    ours: list[float] = []
    hueys: list[float] = []
    bench.add(CLERKS[:1], CLERK)
    bench.running(CLERKS[:1])
    for number in range(rounds):
        raws.append(raw_rate(folder / f"raw-{number}.db", count))
        unsynced.append(raw_rate(folder / f"unsynced-{number}.db", count, claim="NORMAL"))
        ours.append(_rate(_work_off(bench, CLERKS[:1], count)))
        hueys += _huey(count, str(folder))
    one = median(ours)
    raw = Beside("sqlite3 module, same transactions", median(raws))
    yield Row(f"{MESSAGES}, 1 actor", one, "/s", raw, "share", at_least_times(0.65))
    raw = Beside("sqlite3 module, claim unsynced as ours", median(unsynced))
    yield Row(f"{MESSAGES}, 1 actor", one, "/s", raw, "share")
    if hueys:
        huey = Beside("huey: put + get + ack", median(hueys))
        yield Row(f"{MESSAGES}, 1 actor", one, "/s", huey, "share", at_least_times(1))
    bench.add(CLERKS[1:], CLERK)
    bench.running(CLERKS)
    yield from _sixteen(MESSAGES, _work_off(bench, CLERKS, count // 8), one)
    crowd = raw_crowd_rate(folder / "crowd.db", 16, count // 8)
    alone = Beside("the same by 1 process", median(unsynced))
    yield Row("sqlite3 module, 16 processes behind one lock", crowd, "/s", alone, "share")


def _huey(count: int, folder: str) -> list[float]:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        return environment.run("huey", [str(count), own]) or []


def _sixteen(name: str, handled: dict[str, list[float]], one: float) -> Iterator[Row]:
    """While all sixteen work: the total, how even their shares are, and the longest wait of one."""
    begin = max(times[0] for times in handled.values())
    end = min(times[-1] for times in handled.values())
    within = {who: [at for at in times if begin <= at <= end] for who, times in handled.items()}
    shares = [len(times) for times in within.values()]
    if min(shares) < 2:
        raise BenchmarkFailed(f"{name}: the sixteen did not work at the same time")
    total = sum(shares) / (end - begin)
    gaps = [b - a for times in within.values() for a, b in itertools.pairwise(times)]
    yield Row(f"{name}, 16 in all", total, "/s", Beside("ours, 1", one), "share", at_least_times(1))
    yield Row(f"{name}, 16: longest time from one to the next", max(gaps) * 1000, "ms", bar=at_most(500))
    slowest = Beside("the slowest of them", min(shares))
    yield Row(f"{name}, 16: messages of the fastest", max(shares), "", slowest, "share", at_most_times(2))


def _rate(handled: dict[str, list[float]]) -> float:
    times = sorted(at for own in handled.values() for at in own)
    return (len(times) - 1) / (times[-1] - times[0])


def _work_off(bench: BenchCrew, names: Sequence[str], each: int) -> dict[str, list[float]]:
    """Give `each` messages to each actor in one transaction; when each message was handled."""
    ids = bench.post([name for _ in range(each) for name in names], "work")
    values = {"after": ids[0] - 1}
    eventually(lambda: bench.store.first(LEFT) == 0, "all is worked off", every_s=0.3, within_s=PATIENCE_S)
    handled: dict[str, list[float]] = {}
    for recipient, handled_at in bench.store.fetch(HANDLED, values):
        handled.setdefault(recipient, []).append(handled_at)
    return handled


def raw_rate(path: Path, count: int, *, claim: str = "FULL", turns: bool = False) -> float:
    """Messages, or `turns`, a second with the bare module; `path` becomes a store of its own."""
    _fill(path, 1, count)
    connection = _open(path)
    began = time.perf_counter()
    for _ in range(count):
        if turns:
            _raw_turn(connection, "clerk-0")
        else:
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


def _raw_turn(connection: sqlite3.Connection, agent: str) -> None:
    """The rows of an agent's turn, in its two transactions."""
    now = time.time()
    found = connection.execute(_PEEK, (agent, now)).fetchone()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_CLAIM, (now, found[0]))
    connection.execute(_ENTRY, (agent, "message", found[4], found[0], now))
    connection.execute("COMMIT")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_ENTRY, (agent, "reply", json.dumps({"text": ROW_TEXT}), None, now))
    connection.execute(_ADD, (agent, "human", json.dumps({"text": ROW_TEXT}), now, now))
    connection.execute(_ACKNOWLEDGE, (now, found[0]))
    connection.execute("COMMIT")


@contextmanager
def _held(lock: int | None) -> Iterator[None]:
    if lock is not None:
        fcntl.flock(lock, fcntl.LOCK_EX)
    yield
    if lock is not None:
        fcntl.flock(lock, fcntl.LOCK_UN)
