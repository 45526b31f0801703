"""`send` (the CLI's library call) -> the recipient takes the message, in another process; then sixteen under load.

Agents are measured, with a model host that answers in process, and a bare message actor as the limit beside them.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN
from actors.runtime.messages import Text
from store.states import Role
from tests.benchmarks.harness.crew import BenchCrew, open_crew
from tests.benchmarks.harness.kinds import CANNED, CLERK, ROW_TEXT
from tests.benchmarks.harness.rows import Beside, Row, at_most, median, percentile

ALONE_RATE = 100  # messages a second
CROWD_RATE = 100  # to sixteen agents, each of which then has a turn
CLERKS_RATE = 400
AGENTS = 16


@dataclass(frozen=True, slots=True)
class Delays:
    """Milliseconds from before the send until the recipient took each message, and until it asked its model."""

    taken_ms: list[float]
    asked_ms: list[float]
    sent_per_s: float


def measure(quick: bool) -> Iterator[Row]:
    agents, clerks = [f"agent-{n}" for n in range(AGENTS)], [f"clerk-{n}" for n in range(AGENTS)]
    with open_crew(model={"preload": False, "slots": AGENTS}) as bench:
        bench.up()
        bench.add(agents, CANNED, role=Role.ORCHESTRATOR)
        bench.running(agents)
        bare = Beside("a bare sqlite3 commit, FULL, p50", _commit_ms(bench.home.path / "bare.db", 100))
        count = 60 if quick else 600
        alone = _delays(bench, agents[:1], count, ALONE_RATE)
        crowd = _delays(bench, agents, count, CROWD_RATE)
        bench.add(clerks, CLERK)
        bench.running(clerks)
        limit = _delays(bench, clerks[:1], count, ALONE_RATE)
        limits = _delays(bench, clerks, 200 if quick else 2400, CLERKS_RATE)
    yield from _rows("send -> an agent takes it", alone, _beside(limit), "1 agent")
    asked = Beside("until it takes it, p50", median(alone.taken_ms))
    yield Row("send -> the agent asks its model, p50", median(alone.asked_ms), "ms", asked)
    yield from _rows("send -> an agent takes it, 16 agents", crowd, _beside(limits), "")
    yield from _rows("send -> a bare message actor takes it (the limit)", limit, bare, "1 actor")
    yield from _rows("send -> a bare message actor takes it, 16 actors", limits, bare, "")


def _beside(delays: Delays) -> Beside:
    return Beside("a bare message actor, p50", median(delays.taken_ms))


def _rows(name: str, delays: Delays, beside: Beside, note: str) -> Iterator[Row]:
    rate = f"{delays.sent_per_s:.0f} messages a second"
    yield Row(f"{name}, p50", median(delays.taken_ms), "ms", beside, bar=at_most(1))
    note = f"{rate}, {note}" if note else rate
    yield Row(f"{name}, p99", percentile(delays.taken_ms, 0.99), "ms", bar=at_most(10), note=note)


def _commit_ms(path: Path, count: int) -> float:
    """What one durable row costs: no send can be faster than that."""
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


def _delays(bench: BenchCrew, names: Sequence[str], count: int, rate: float) -> Delays:
    """Send to each in turn, at a steady rate."""
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        words = Text(text=f"sent_at {time.monotonic_ns()}")
        mailbox.send(bench.store, HUMAN, names[number % len(names)], words, now=time.time())
    sent_per_s = count / (time.monotonic() - began)
    reports = [json.loads(bench.answer(message)) for message in bench.post(names, "report")]
    return Delays(
        [delay for report in reports for delay in report["taken"]],
        [delay for report in reports for delay in report.get("asked", ())],
        sent_per_s,
    )
