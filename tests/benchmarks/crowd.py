"""A hundred agents at once: until all are ready, what each weighs after work, what they cost at rest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psutil

from store.rows import Agent
from store.states import Role
from tests.benchmarks.harness.crew import BenchCrew, open_crew
from tests.benchmarks.harness.kinds import COLLECT, THRIFTY
from tests.benchmarks.harness.model import reply, timed_model
from tests.benchmarks.harness.rows import Row, at_most, median
from tests.support.stores import message
from tests.support.waiting import eventually

STEPS = 5


def measure(quick: bool) -> Iterator[Row]:
    count = 20 if quick else 100
    names = [f"lead-{n}" for n in range(count)]
    with timed_model([_scene()]) as (url, _), open_crew(model={"hosts": (url,), "preload": False}) as bench:
        bench.up()
        began = time.time()
        bench.add(names, "agent", role=Role.ORCHESTRATOR)
        rows = bench.running(names)
        ready_s = max(row.ready_at or 0.0 for row in rows) - began
        yield Row(f"{count} agents: all ready in", ready_s, "s", bar=at_most(2))
        idle = _idle_share(bench, rows, 3 if quick else 20)
        yield Row(f"{count} agents at rest, together", idle[0], "% core", bar=at_most(0.5))
        yield Row("their supervisor, zygote and services at rest", idle[1], "% core")
        yield from _memory(bench, rows, count)


def _memory(bench: BenchCrew, rows: list[Agent], count: int) -> Iterator[Row]:
    _finished(bench, bench.post([row.name for row in rows], "Look around."), "the hundred's work")
    worked = _own_mb(rows)
    name = f"{count} agents: memory of its own (USS)"
    yield Row(f"{name} after {STEPS} steps, median", median(worked), "MB", bar=at_most(12))
    yield Row(f"{name} after {STEPS} steps, most", max(worked), "MB", bar=at_most(12))
    # Ten more that collect when they are told to: no message to a real agent asks for that.
    names = [f"thrifty-{n}" for n in range(10)]
    bench.add(names, THRIFTY, role=Role.ORCHESTRATOR)
    thrifty = bench.running(names)
    _finished(bench, bench.post(names, "Look around."), "the ten's work")
    _finished(bench, bench.post(names, COLLECT), "the collections")
    yield Row("10 agents: the same after a full gc, most", max(_own_mb(thrifty)), "MB", bar=at_most(12))


def _scene() -> dict[str, Any]:
    replies = [reply("I look.", "search_insights", query=f"word{n}") for n in range(STEPS - 1)]
    return {"when": "Look around", "reply": [*replies, reply("All is well.")]}


def _finished(bench: BenchCrew, ids: list[int], what: str) -> None:
    eventually(lambda: all(bench.is_handled(n) for n in ids), what, every_s=0.2, within_s=120)
    assert all(message(bench.store, n).state == "handled" for n in ids), f"{what} failed"


def _own_mb(rows: list[Agent]) -> list[float]:
    return [psutil.Process(row.pid).memory_full_info().uss / 2**20 for row in rows]


def _idle_share(bench: BenchCrew, rows: list[Agent], window_s: float) -> tuple[float, float]:
    """Per cent of one core over the window: the agents, and the rest of the crew."""
    agents = {row.pid for row in rows}
    pids = [process.pid for process in bench.processes()]
    time.sleep(2)  # let what follows a start pass: this measures rest, of which there is no event to wait for
    before = {pid: cpu_s(pid) for pid in pids}
    time.sleep(window_s)
    spent = {pid: cpu_s(pid) - before[pid] for pid in pids}
    ours = sum(used for pid, used in spent.items() if pid in agents)
    rest = sum(used for pid, used in spent.items() if pid not in agents)
    return ours / window_s * 100, rest / window_s * 100


def cpu_s(pid: int) -> float:
    """Processor time of another process in seconds, to the nanosecond where the kernel gives it."""
    try:
        # Linux's clock id of another process's CPU clock, as clock_getcpuclockid(3) makes it.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        used = psutil.Process(pid).cpu_times()
        return used.user + used.system
