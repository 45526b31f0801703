"""The start of 20 agents: into a running crew, and a whole crew from nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

from store.states import Role
from tests.benchmarks.harness.crew import open_crew
from tests.benchmarks.harness.rows import Row

AGENTS = 20


def measure(quick: bool) -> Iterator[Row]:
    names = [f"engineer-{n}" for n in range(5 if quick else AGENTS)]
    with open_crew() as bench:
        bench.up()
        began = time.time()
        bench.add(names, "agent", role=Role.ENGINEER)
        ready = max(row.ready_at or 0.0 for row in bench.running(names))
    yield Row(
        f"{len(names)} agents started by a running supervisor, all ready in", (ready - began) * 1000, "ms"
    )
    with open_crew() as bench:
        bench.add(names, "agent", role=Role.ENGINEER)
        began = time.time()
        bench.up()
        ready = max(row.ready_at or 0.0 for row in bench.running(names))
    yield Row(f"supervisor and {len(names)} agents from nothing, all ready in", (ready - began) * 1000, "ms")
