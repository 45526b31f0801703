"""A crew to measure: a home of its own, the real supervisor in a process of its own, and the store."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from actors.home import Home
from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN, SUPERVISOR
from actors.runtime.messages import ProjectChanged, Text
from actors.runtime.wake import Waker, WakeSocket
from actors.screen.attach import kill_server
from actors.settings import Config
from store import crew, inbox
from store.engine import Store
from store.rows import Agent
from store.states import AgentState, Role
from store.upkeep import migrate
from supervisor.health import status
from supervisor.process import recovery
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 60.0
# What a night must not do, a benchmark must: any number of kills, each restart at once.
RESTARTS = {"intensity": 1_000_000, "backoff_first_s": 0.0}


class BenchmarkFailed(Exception):
    """A benchmark could not run; says what it waited for."""


class BenchCrew:
    """One home. Use `open_crew`."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.home = Home(folder / "home")
        self.home.make()
        migrate.ensure(self.home.store)
        self.waker = Waker(self.home.run)
        self.store = Store(self.home.store, notify=self._notify)
        self.committed_at = 0.0
        sections = {"tmux": {"enabled": False}, "sandbox": {"mode": "off"}, "supervisor": RESTARTS}
        self.config = Config.from_json(Config.model_validate({**sections, **settings}).to_json())
        self.server: subprocess.Popen[bytes] | None = None

    def _notify(self, recipients: Iterable[str]) -> None:
        self.committed_at = time.perf_counter()
        self.waker(recipients)

    # -- the supervisor ------------------------------------------------------------------------

    def up(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the supervisor; returns when it is ready."""
        words = [
            sys.executable,
            "-m",
            "tests.benchmarks.harness.server",
            str(self.home.path),
            self.config.to_json(),
        ]
        with (self.home.logs / "server.stderr").open("ab") as stderr:
            self.server = subprocess.Popen(
                words,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, **(environment or {})},
            )
        eventually(self._is_ready, "the supervisor is ready", within_s=PATIENCE_S)

    def _is_ready(self) -> bool:
        assert self.server is not None
        if self.server.poll() is not None:
            said = (self.home.logs / "server.stderr").read_text()[-2000:]
            raise BenchmarkFailed(f"the supervisor ended with {self.server.returncode}: {said}")
        holder = status.holder(self.home)
        return holder is not None and holder.ready

    def processes(self) -> list[psutil.Process]:
        """The supervisor, its zygote and every actor."""
        assert self.server is not None
        supervisor = psutil.Process(self.server.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def close(self) -> None:
        """Nothing of the crew is left."""
        if self.server is not None and self.server.poll() is None:
            self.server.terminate()
            try:
                self.server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
        recovery.kill_leftovers(self.home)
        if self.config.tmux.enabled:
            kill_server(self.home.run)
        self.store.close()
        self.waker.close()

    # -- actors --------------------------------------------------------------------------------

    def add(
        self, names: Iterable[str], kind: str, *, role: Role | None = None, project: str | None = None
    ) -> None:
        """Rows of wanted actors; the supervisor is told in the same transaction."""
        now = time.time()
        with self.store.write() as tx:
            for name in names:
                crew.add_agent(tx, name=name, kind=kind, role=role, project=project, now=now)
            mailbox.post(tx, HUMAN, SUPERVISOR, ProjectChanged(), now=now)

    def row(self, name: str) -> Agent:
        return crew.agent(self.store, name)

    def running(self, names: Iterable[str], *, after: int = 0) -> list[Agent]:
        """Wait until all of them run, under a generation above `after`; their rows."""
        wanted = set(names)

        def rows() -> list[Agent]:
            found = [row for row in crew.all_agents(self.store) if row.name in wanted]
            ready = [r for r in found if r.state == AgentState.RUNNING and r.generation > after]
            return ready if len(ready) == len(wanted) else []

        found: list[Agent] = eventually(rows, f"{len(wanted)} actors run", within_s=PATIENCE_S)
        return found

    def post(self, recipients: Iterable[str], text: str) -> list[int]:
        """One message to each mailbox named (a name may come often), in one transaction; their ids."""
        now = time.time()
        with self.store.write() as tx:
            return [mailbox.post(tx, HUMAN, name, Text(text=text), now=now) for name in recipients]

    def answer(self, message: int) -> str:
        """Wait for the answer's words."""
        found = eventually(
            lambda: inbox.replies(self.store, message), f"message {message} is answered", within_s=PATIENCE_S
        )
        return str(found[0].body["text"])

    def is_handled(self, message: int) -> bool:
        row = inbox.get(self.store, message)
        return row is not None and row.handled_at is not None

    @contextmanager
    def listening(self, name: str) -> Iterator[WakeSocket]:
        """Receive the wakes for `name`, of which no process runs: a commit is seen without polling."""
        wake = WakeSocket(self.home.run, name)
        try:
            yield wake
        finally:
            wake.close()


def wait_for_wake(wake: WakeSocket) -> None:
    """Block until something was committed for it. Raises `BenchmarkFailed`."""
    if not select.select([wake], [], [], PATIENCE_S)[0]:
        raise BenchmarkFailed(f"no wake at {wake.path.name} within {PATIENCE_S:g} s")
    wake.drain()


@contextmanager
def open_crew(**settings: Any) -> Iterator[BenchCrew]:
    """A crew in a folder of its own that is gone afterwards; `settings` are sections of its configuration."""
    folder = Path(tempfile.mkdtemp(prefix="nightcrew-benchmark-"))
    crew_ = BenchCrew(folder, settings)
    try:
        yield crew_
    finally:
        crew_.close()
        shutil.rmtree(folder, ignore_errors=True)
