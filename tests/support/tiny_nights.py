"""A night with a real, tiny model: the shim as a process of its own, and a crew with small budgets."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store import timers
from tests.actors.model.ollama_shim import MODEL
from tests.support.nights import ROOT, Night

CONTEXT = 8192
CONFIG = """\
[model]
hosts = ["{url}"]
name = "{model}"
context_window = {context}
max_tokens = 256
[budgets]
steps_per_task = {steps}
attempts_per_task = 2
format_errors = 2
[work]
engineers = 2
shell_timeout_s = 5
check_timeout_s = 20
[supervisor]
intensity = 5
[tmux]
enabled = false
"""


@contextmanager
def tiny_model(log: Path, **options: object) -> Iterator[str]:
    """The shim's URL; `options` are its command line's."""
    words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "tests.actors.model.ollama_shim", f"--context={CONTEXT}", *words],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as shim,
    ):
        assert shim.stdin is not None
        assert shim.stdout is not None
        url = shim.stdout.readline().decode().strip()
        assert url, log.read_text()[-2000:]
        try:
            yield url
        finally:
            shim.stdin.close()


def served(url: str) -> list[dict[str, Any]]:
    """What each request cost, as llama.cpp measured it."""
    with urllib.request.urlopen(f"{url}/shim", timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)["served"]
    return found


@dataclass
class TinyNight(Night):
    """A `Night` whose model is the shim."""

    steps: int = 6

    def prepare(self) -> None:
        super().prepare()
        with self.store.write() as tx:
            for row in timers.listed(self.store):  # a check-in each second would take all of the model's time
                timers.cancel(tx, row.id)
        config = CONFIG.format(url=self.url, model=MODEL, context=CONTEXT, steps=self.steps)
        (self.home.path / "nightcrew.toml").write_text(config)


def cache_share(requests: list[dict[str, Any]]) -> float:
    """The share of prompt tokens that came from the cache, over the requests that go on with a conversation."""
    steps = [row for row in requests if row["messages"] > 2]
    cached = sum(int(row["cached"]) for row in steps)
    return cached / max(1, cached + sum(int(row["new"]) for row in steps))
