"""kill -9 of an agent -> its next incarnation has handled the next message, beside those who also restart.

The agent is one of the product's own kind, resting; the message is one it handles without a model: `Resume`,
two writes in one transaction under the new fence. It is sent right after the kill.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN
from actors.runtime.messages import Resume
from actors.runtime.wake import WakeSocket
from store import crew, inbox
from store.states import Role
from tests.benchmarks.harness.crew import BenchCrew, open_crew, wait_for_wake
from tests.benchmarks.harness.kinds import ROW_TEXT
from tests.benchmarks.harness.rows import Bar, Beside, Row, at_least_times, at_most, median, percentile
from tests.benchmarks.peers import environment

AGENT = "engineer-1"
SIZES = (100, 10_000, 100_000)
TAIL_ROWS = 20  # of 1 kB: what a compaction leaves
# Whom, under which words, how many kills (each of theirs takes a second or more), and the bar on the ratio.
PEERS: tuple[tuple[str, str, int, Bar | None], ...] = (
    ("ray", "Ray actor", 12, at_least_times(15)),
    ("supervisord", "supervisord, bare sh", 8, at_least_times(30)),
    ("dbos", "DBOS workflow, SQLite", 6, at_least_times(45)),
    ("runit", "runit, bare sh", 10, None),
    ("thespian", "Thespian TCPBase, stateless", 20, None),
)


def measure(quick: bool) -> Iterator[Row]:
    kills = 5 if quick else 40
    longest = 0.0
    for size in SIZES:
        took_ms = recoveries_ms(size, kills)
        name = f"kill -9 -> next message handled, {size:,} rows"
        longest = max(longest, median(took_ms))
        yield Row(f"{name}, p50", median(took_ms), "ms", bar=at_most(30))
        yield Row(f"{name}, p99", percentile(took_ms, 0.99), "ms", bar=at_most(80), note=f"{kills} kills")
    for peer, words, count, bar in PEERS:
        found = environment.run(peer, [str(2 if quick else count)])
        if found is not None:
            beside = Beside(f"{words}, p50", median(found))
            yield Row(f"kill -9 -> handled, against {peer}", longest, "ms", beside, "times", bar)


def recoveries_ms(history_rows: int, kills: int) -> list[float]:
    """One agent with that long a history behind its last compaction, killed again and again."""
    with open_crew() as bench:
        with bench.store.write() as tx:
            crew.add_agent(tx, name=AGENT, kind="agent", role=Role.ENGINEER, project=None, now=time.time())
        fill_history(bench.home.store, AGENT, history_rows)
        bench.up()
        bench.running([AGENT])
        with bench.listening("tmux") as wake:
            return [_kill_ms(bench, wake) for _ in range(kills)]


def _kill_ms(bench: BenchCrew, wake: WakeSocket) -> float:
    row = bench.running([AGENT])[0]
    assert row.pid is not None
    wake.drain()
    began = time.perf_counter()
    os.kill(row.pid, signal.SIGKILL)
    message = mailbox.send(bench.store, HUMAN, AGENT, Resume(), now=time.time())
    # Each history row wakes the screen; in its place this process sees the commit without polling.
    while not bench.is_handled(message):
        wait_for_wake(wake)
    took_ms = (time.perf_counter() - began) * 1000
    claimed = inbox.get(bench.store, message)
    assert claimed is not None
    assert claimed.claim_generation is not None
    assert claimed.claim_generation > row.generation, "it was handled by the one that was killed"
    bench.running([AGENT], after=row.generation)
    return took_ms


def fill_history(path: Path, agent: str, count: int) -> None:
    """`count` rows of 1 kB, then a compaction that keeps the first two and the last `TAIL_ROWS`."""
    body = f'{{"text": "{ROW_TEXT}"}}'
    columns = "(agent, kind, body, generation, created_at)"
    connection = sqlite3.connect(path)
    with connection:
        add = f"INSERT INTO history {columns} VALUES (?, ?, ?, 0, 0)"
        system = connection.execute(add, (agent, "system", body)).lastrowid or 0
        told = '{"text": "Begin.", "sender": "human", "kind": "text"}'
        connection.execute(add, (agent, "message", told))
        rest = ((agent, "note", body) for _ in range(count - 3))
        connection.executemany(add, rest)
        keep_from = system + count - 1 - min(TAIL_ROWS, count - 3)
        summary = (
            f'{{"text": "Much.", "system": {system}, "pinned": [{system + 1}], '
            f'"keep_from": {keep_from}, "mask_to": {keep_from}}}'
        )
        cut = connection.execute(add, (agent, "summary", summary)).lastrowid
        connection.execute("UPDATE agents SET context_from = ? WHERE name = ?", (cut, agent))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
