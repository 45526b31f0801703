"""The loop's own cost a step: everything between the end of the model's answer and its next question.

A real engineer on a real repository, with its worktree and its sandbox, and a model that answers at once. A
step here is a pair: the reply committed, its tool run, the result committed, the next prompt built and sent.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from actors.settings import Config
from store import tasks
from store.states import TaskState
from supervisor.project_spec.deploy import deploy
from supervisor.project_spec.parse import parse_spec
from tests.benchmarks.harness.crew import PATIENCE_S, BenchCrew, open_crew
from tests.benchmarks.harness.model import Request, TimedState, reply, timed_model
from tests.benchmarks.harness.rows import Bar, Row, at_most, median, percentile
from tests.support.waiting import eventually

PROJECT = "loop"
ENGINEER = f"engineer-1.{PROJECT}"
SPEC = """\
PROJECT: Loop
GOAL: One function
DELIVERABLES:
1. one() in one.py returns 1
CHECKS:
- python3 -m unittest test_one
"""
TEST = """\
import unittest


class T(unittest.TestCase):
    def test_one(self):
        import one

        self.assertEqual(one.one(), 1)
"""
SLOW_MS = 700  # long enough to be killed in


def measure(quick: bool) -> Iterator[Row]:
    steps = 5 if quick else 60
    with (
        timed_model(_scenes(steps)) as (url, state),
        open_crew(
            model={"hosts": (url,), "context_window": 200_000},
            sandbox={"mode": "auto"},
            work={"engineers": 1},
        ) as bench,
    ):
        _deploy(bench)
        bench.up()
        eventually(
            lambda: len(state.requests_of(ENGINEER)) > 3 * steps,
            "the engineer has made its steps",
            within_s=PATIENCE_S,
        )
        row = bench.row(ENGINEER)
        assert row.pid is not None
        own_mb = psutil.Process(row.pid).memory_full_info().uss / 2**20
        os.kill(row.pid, signal.SIGKILL)
        eventually(lambda: _is_merged(bench), "the task is merged", within_s=PATIENCE_S)
    names = ("with a command in its sandbox", "reading a file", "without a tool's world (one message)")
    for number, (name, bar) in enumerate(zip(names, (at_most(15), at_most(5), at_most(5)), strict=True)):
        yield from _steps(state, name, number * steps, (number + 1) * steps, bar)
    yield Row(f"an engineer's own memory (USS) after {3 * steps} steps", own_mb, "MB", bar=at_most(12))
    yield from _prompts(state.requests_of(ENGINEER), 3 * steps)


def _steps(state: TimedState, name: str, first: int, last: int, bar: Bar) -> Iterator[Row]:
    gaps = state.gaps_ms(ENGINEER, first, last)
    yield Row(f"loop overhead a step {name}, p50", median(gaps), "ms", bar=bar)
    yield Row(f"loop overhead a step {name}, p99", percentile(gaps, 0.99), "ms")


def _prompts(requests: Sequence[Request], killed: int) -> Iterator[Row]:
    """What a server's prefix cache could reuse, and whether a kill costs any of it."""
    pairs = list(itertools.pairwise(requests[: killed + 1]))
    kept = sum(_shared(a.prompt, b.prompt) for a, b in pairs)
    share = kept / sum(len(b.prompt) for _, b in pairs)
    before, after = requests[killed], requests[killed + 1]
    name = "prompt after kill -9 in a model call: same bytes as before (1: yes)"
    yield Row(name, float(before.digest == after.digest), "", bar=Bar("value", ">=", 1))
    yield Row("share of a prompt that is the one before, unchanged", share, "", bar=Bar("value", ">=", 0.9))


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    differing = (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differing, min(len(one), len(other)))


def _scenes(steps: int) -> list[dict[str, Any]]:
    manager, words = "project_manager", {"title": "Write one", "description": "one()", "role": "engineer"}
    work = [
        *(reply("I run it.", "shell", command=f"echo {n}; seq 20") for n in range(steps)),
        *(reply("I read.", "read_file", path="test_one.py", start_line=1 + n % 7) for n in range(steps)),
        *(
            reply("I tell.", "send_message", to=f"pm.{PROJECT}", text=f"Step {n} is done.")
            for n in range(steps)
        ),
        reply("I write.", "write_file", path="one.py", content="def one():\n    return 1\n")
        | {"delay_ms": SLOW_MS},
        reply("I submit.", "submit_task", summary="one returns 1"),
    ]
    return [
        {
            "role": manager,
            "when": "You manage the project",
            "reply": [reply("One task.", "assign_task", **words), reply("Planned.")],
        },
        {
            "role": manager,
            "when": "No task is open any more",
            "reply": [reply("The end.", "finish_project", summary="It is merged.")],
        },
        {"role": manager, "when": "is done", "reply": [reply("Good.")]},
        {"role": "engineer", "when": "Write one", "reply": work},
    ]


def _deploy(bench: BenchCrew) -> None:
    repository = bench.home.path.parent / "repository"
    repository.mkdir()
    (repository / "test_one.py").write_text(TEST)
    identity = ("-c", "user.name=Bench", "-c", "user.email=bench@localhost")
    _git(repository, "init", "--quiet", "--initial-branch=main")
    _git(repository, "add", "--all")
    _git(repository, *identity, "commit", "--quiet", "--message=One function is missing")
    deploy(bench.store, bench.home, Config(), parse_spec(SPEC, PROJECT), repository, 1, False)


def _git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


def _is_merged(bench: BenchCrew) -> bool:
    return any(row.state == TaskState.MERGED for row in tasks.of_project(bench.store, PROJECT))
