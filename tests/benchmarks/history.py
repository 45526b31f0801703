"""What a step of the loop costs with a long night behind it, against a short one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from actors.runtime.addresses import ORCHESTRATOR
from store import crew
from store.states import Role
from tests.benchmarks.harness.crew import PATIENCE_S, BenchCrew, open_crew
from tests.benchmarks.harness.model import TimedState, reply, timed_model
from tests.benchmarks.harness.rows import Beside, Row, at_most_times, median
from tests.benchmarks.recovery import fill_history
from tests.support.waiting import eventually

SIZES = (100, 100_000)
STEPS = 20


def measure(quick: bool) -> Iterator[Row]:
    sizes = (100, 10_000) if quick else SIZES
    with ExitStack() as stack:
        homes = [_open(stack, size) for size in sizes]
        for number in range(2 if quick else 6):
            # In turn, so that what else the machine does falls on both.
            for bench, _ in homes:
                message = bench.post([ORCHESTRATOR], f"Search, round {number}.")[0]
                eventually(lambda b=bench, m=message: b.is_handled(m), "the turn ends", within_s=PATIENCE_S)  # type: ignore[misc] # bound at once
        few, many = (median(_steps_ms(state)) for _, state in homes)
    beside = Beside(f"{sizes[0]:,} rows", few)
    yield Row(f"a step with {sizes[1]:,} history rows, p50", many, "ms", beside, "share", at_most_times(1.1))


def _open(stack: ExitStack, size: int) -> tuple[BenchCrew, TimedState]:
    url, state = stack.enter_context(timed_model([_scene()]))
    bench = stack.enter_context(open_crew(model={"hosts": (url,), "context_window": 200_000}))
    with bench.store.write() as tx:
        crew.add_agent(
            tx, name=ORCHESTRATOR, kind="agent", role=Role.ORCHESTRATOR, project=None, now=0.0
        )  # fmt: skip
    fill_history(bench.home.store, ORCHESTRATOR, size)
    with bench.store.write() as tx:
        # The rows' system text names no role; one of its own begins the context that is measured.
        crew.change_agent(tx, ORCHESTRATOR, context_from=0)
    bench.up()
    bench.running([ORCHESTRATOR])
    return bench, state


def _scene() -> dict[str, Any]:
    replies = [reply("I look.", "search_insights", query=f"word{n}") for n in range(STEPS - 1)]
    return {"when": "Search", "reply": [*replies, reply("Nothing.")]}


def _steps_ms(state: TimedState) -> list[float]:
    """Gaps within turns: what is asked after the last answer of one is the next one's beginning."""
    requests = state.requests_of(ORCHESTRATOR)
    inner = [n for n in range(len(requests) - 1) if (n + 1) % STEPS]
    return [gap for n in inner for gap in state.gaps_ms(ORCHESTRATOR, n, n + 1)]
