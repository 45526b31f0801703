"""A committed line -> visible in its agent's tmux window, with few windows and with many.

Seen by a client of tmux's control mode, which is told what each pane of its session prints. A `tmux` in
front of the real one counts how often it is started. Beside it stands what `tail` and tmux alone take for a line
put straight into a window's file: tmux looks at all its panes for each line, and a `tail` past the user's last
inotify instance (128 on most systems) looks ten times a second.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from actors.screen.tmux_config import SOCKET_NAME
from store import crew, history
from store.engine import Fence
from store.entries import NoteBody
from store.states import Role
from tests.benchmarks.harness.crew import BenchCrew, BenchmarkFailed, open_crew
from tests.benchmarks.harness.rows import Beside, Row, at_most, at_most_times, median, percentile
from tests.support.stores import add_project
from tests.support.waiting import eventually

PROJECT = "bench"
BURST = 500
VISIBLE_S = 20.0
ALONE = "tail and tmux alone"


def measure(quick: bool) -> Iterator[Row]:
    if shutil.which("tmux") is None:
        raise BenchmarkFailed("tmux is not installed")
    few, many = (5, 20) if quick else (20, 200)
    lines = 20 if quick else 200
    p50_few, rows = _one(few, lines, None)
    yield from rows
    yield from _one(many, lines, Beside(f"{few} windows", p50_few))[1]


def _one(windows: int, lines: int, few: Beside | None) -> tuple[float, list[Row]]:
    name = f"committed line -> visible, {windows} windows"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench = stack.enter_context(open_crew(tmux={"enabled": True}))
        agents = _with_windows(bench, windows, _counting_tmux(folder))
        screen = stack.enter_context(_watching(bench))
        _line(bench, screen, agents[0], "first")
        started = _starts(folder)
        took_ms = [_line(bench, screen, agents[n % windows], f"line{n}") for n in range(lines)]
        alone_ms = [_put(bench, screen, agents[n % windows], f"put{n}") for n in range(lines)]
        for number in range(BURST):
            _commit(bench, agents[number % windows], f"burst{number}x")
        screen.wait_for(f"burst{BURST - 1}x")
        per_line = (_starts(folder) - started) / (lines + BURST)
    p50 = median(took_ms)
    return p50, [
        Row(f"{name}, p50", p50, "ms", Beside(ALONE, median(alone_ms)), bar=at_most(5)),
        Row(f"{name}, p99", percentile(took_ms, 0.99), "ms", Beside(ALONE, percentile(alone_ms, 0.99))),
        *([Row(f"{name}, flat", p50, "ms", few, "share", at_most_times(1.5))] if few else []),
        # Not quite none: the regular look at whether every window is there starts one every 3 s.
        Row(f"tmux processes started a line, {windows} windows", per_line, "", bar=at_most(0.05)),
    ]


def _with_windows(bench: BenchCrew, count: int, path: str) -> list[str]:
    """Agents that have a window each and no process: only the screen's cost is wanted."""
    agents = [f"engineer-{n}.{PROJECT}" for n in range(count)]
    add_project(bench.store, PROJECT)
    with bench.store.write() as tx:
        for agent in agents:
            crew.add_agent(tx, name=agent, kind="agent", role=Role.ENGINEER, project=PROJECT, now=time.time())
            crew.change_agent(tx, agent, wanted=False)
    bench.up({"PATH": path})

    def shown() -> bool:
        done = _tmux(bench, "list-panes", "-s", "-t", PROJECT, "-F", "#{pane_current_command}")
        return done.stdout.split().count("tail") >= count

    eventually(shown, f"{count} windows are open", every_s=0.2, within_s=120)
    return agents


def _counting_tmux(folder: Path) -> str:
    """A PATH whose `tmux` writes a line for each start of the real one."""
    shim = folder / "tmux"
    shim.write_text(f'#!/bin/sh\necho started >> {folder}/starts\nexec {shutil.which("tmux")} "$@"\n')
    shim.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def _starts(folder: Path) -> int:
    return len((folder / "starts").read_text().splitlines())


def _tmux(bench: BenchCrew, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["tmux", "-S", SOCKET_NAME, *words]
    return subprocess.run(command, cwd=bench.home.run, capture_output=True, text=True, check=False)


@dataclass(slots=True)
class _Screen:
    """What the panes print, as tmux reports it."""

    descriptor: int
    seen: bytearray = field(default_factory=bytearray)

    def wait_for(self, words: str) -> float:
        """Block until a pane has printed them; when that was, on the `perf_counter`."""
        deadline = time.perf_counter() + VISIBLE_S
        while words.encode() not in self.seen:
            left_s = deadline - time.perf_counter()
            if left_s <= 0 or not select.select([self.descriptor], [], [], left_s)[0]:
                raise BenchmarkFailed(f"{words} is not visible within {VISIBLE_S:g} s")
            self.seen += os.read(self.descriptor, 65536)
        at = time.perf_counter()
        self.seen.clear()
        return at


@contextmanager
def _watching(bench: BenchCrew) -> Iterator[_Screen]:
    command = ["tmux", "-S", SOCKET_NAME, "-C", "attach-session", "-t", PROJECT]
    client = subprocess.Popen(
        command, cwd=bench.home.run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert client.stdout is not None
    try:
        screen = _Screen(client.stdout.fileno())
        screen.wait_for("%session-changed")  # what is printed before it is attached it is not told
        yield screen
    finally:
        client.kill()
        client.wait()


def _commit(bench: BenchCrew, agent: str, words: str) -> None:
    with bench.store.write() as tx:
        history.append(tx, Fence(agent, 0), NoteBody(words), now=time.time())


def _line(bench: BenchCrew, screen: _Screen, agent: str, words: str) -> float:
    """From the commit until it is seen, in milliseconds."""
    _commit(bench, agent, f"{words}x")
    return (screen.wait_for(f"{words}x") - bench.committed_at) * 1000


def _put(bench: BenchCrew, screen: _Screen, agent: str, words: str) -> float:
    """From the end of a window's file until it is seen, in milliseconds; neither store nor actor has a part."""
    with (bench.home.windows / f"{agent}.ansi").open("ab", buffering=0) as file:
        began = time.perf_counter()
        file.write(f"{words}x\n".encode())
    return (screen.wait_for(f"{words}x") - began) * 1000
