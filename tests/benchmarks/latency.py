"""`send` (the CLI's library call) -> the handler is entered, in another process; then sixteen under load."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN
from actors.runtime.messages import Text
from tests.benchmarks.crew import BenchCrew, open_crew
from tests.benchmarks.kinds import CLERK, ROW_TEXT
from tests.benchmarks.rows import Beside, Row, at_most, median, percentile

RATE = 400
AGENTS = 16


def measure(quick: bool) -> Iterator[Row]:
    names = [f"clerk-{n}" for n in range(AGENTS)]
    with open_crew() as bench:
        bench.up()
        bench.add(names, CLERK)
        bench.running(names)
        bare = Beside("a bare sqlite3 commit, FULL, p50", _commit_ms(bench.home.path / "bare.db", 100))
        alone, _ = _delays_ms(bench, names[:1], 60 if quick else 600, 100)
        crowd, rate = _delays_ms(bench, names, 200 if quick else 2400, RATE)
    yield from _rows("send -> handler entered", alone, bare, "100 messages a second, 1 agent")
    yield from _rows(
        "the same, 16 agents, 400 messages a second", crowd, bare, f"{rate:.0f} a second were sent"
    )


def _rows(name: str, delays_ms: Sequence[float], bare: Beside, note: str) -> Iterator[Row]:
    yield Row(f"{name}, p50", median(delays_ms), "ms", bare, bar=at_most(1))
    yield Row(f"{name}, p99", percentile(delays_ms, 0.99), "ms", bar=at_most(10), note=note)


def _commit_ms(path: Path, count: int) -> float:
    """What the disk asks for one durable row: a send cannot be quicker than that."""
    connection = sqlite3.connect(path, isolation_level=None)
    for setup in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE bare (text)"):
        connection.execute(setup)
    took_ms = []
    for _ in range(count):
        began = time.perf_counter()
        connection.execute("INSERT INTO bare VALUES (?)", (ROW_TEXT,))
        took_ms.append((time.perf_counter() - began) * 1000)
    connection.close()
    return median(took_ms)


def _delays_ms(bench: BenchCrew, names: Sequence[str], count: int, rate: float) -> tuple[list[float], float]:
    """Send at a steady rate, in turn; from before the call to the handler's first line. And the rate."""
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        words = Text(text=f"sent_at {time.monotonic_ns()}")
        mailbox.send(bench.store, HUMAN, names[number % len(names)], words, now=time.time())
    sent_rate = count / (time.monotonic() - began)
    reports = [json.loads(bench.answer(message)) for message in bench.post(names, "report")]
    return [delay for report in reports for delay in report], sent_rate
