"""What the sandbox costs an agent's command, over plain bash."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from actors.sandbox.choose import choose
from actors.sandbox.from_config import policy_of
from actors.sandbox.run import run_command
from actors.settings import Config
from tests.benchmarks.harness.rows import Beside, Row, at_most, median, percentile

COMMAND = "echo over"


def measure(quick: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("home", "worktree", "outputs"):
            (folder / part).mkdir()
        sandbox = choose(policy_of(Config(), folder / "home"), unsafe=False)
        plain, ours = [], []
        for number in range(5 if quick else 60):
            began = time.perf_counter()
            subprocess.run([sandbox.shell, "-c", COMMAND], cwd=folder, capture_output=True, check=True)
            plain.append((time.perf_counter() - began) * 1000)
            began = time.perf_counter()
            result = run_command(
                sandbox,
                COMMAND,
                worktree=folder / "worktree",
                spill_dir=folder / "outputs",
                call_id=f"call-{number}",
            )
            ours.append((time.perf_counter() - began) * 1000)
            assert result.ok, result.output
    beside = Beside("plain bash", median(plain))
    yield Row("a command in the sandbox, with its record, p50", median(ours), "ms", beside, "share")
    yield Row("a command in the sandbox, p99", percentile(ours, 0.99), "ms")
    yield Row("sandbox over plain bash, a command", median(ours) - median(plain), "ms", bar=at_most(12))
