"""What a person waits for: `nightcrew send` and `nightcrew status`, whole process, warm, with a crew up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.benchmarks.harness.crew import ROOT, BenchCrew, BenchmarkFailed, open_crew
from tests.benchmarks.harness.kinds import CLERK
from tests.benchmarks.harness.rows import Beside, Row, at_most, median


def measure(quick: bool) -> Iterator[Row]:
    times = 3 if quick else 15
    with open_crew() as bench:
        bench.up()
        bench.add(["clerk"], CLERK)
        bench.running(["clerk"])
        bare = Beside(
            "python -c pass", median([_took_ms(bench, [sys.executable, "-c", "pass"]) for _ in range(times)])
        )
        for words in (["send", "clerk", "work"], ["status"]):
            command = [str(ROOT / "bin" / "nightcrew"), *words]
            took = [_took_ms(bench, command) for _ in range(times + 1)][1:]
            yield Row(
                f"nightcrew {words[0]}, whole process, warm, p50",
                median(took),
                "ms",
                bare,
                "share",
                at_most(250),
            )


def _took_ms(bench: BenchCrew, command: list[str]) -> float:
    # Warm is with our own bytecode written, as a person's second command finds it.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = {**inherited, "NIGHTCREW_HOME": str(bench.home.path)}
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkFailed(f"{' '.join(command)} exited {done.returncode}: {done.stderr.strip()}")
    return (time.perf_counter() - began) * 1000
