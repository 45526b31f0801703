"""A real crew for tests: a supervisor process, its zygote, its children, and the store between them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from actors.home import Home
from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN, SUPERVISOR
from actors.runtime.messages import ProjectChanged, Text
from actors.runtime.wake import Waker
from actors.settings import Config
from store import crew, inbox
from store.engine import Store
from store.rows import Agent
from store.shared import file_lock
from store.states import AgentState, Role
from supervisor.health import status
from supervisor.process import recovery
from tests.support.stores import NOW, make_file
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Crew:
    """One home. Call `open` before use and `close` at the end; both may be called again."""

    home: Home
    settings: dict[str, Any] = field(default_factory=dict)
    start_patience_s: float = 30.0
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def open(self) -> None:
        self.home.make()
        if not self.home.store.exists():
            make_file(self.home.store)
        self.waker = Waker(self.home.run)
        self.store = Store(self.home.store, notify=self.waker)

    def close(self) -> None:
        """Stop all processes that this crew has started, and no others."""
        for server in self.servers:
            if server.poll() is None:
                server.kill()
            server.wait()
            if server.stderr is not None:
                server.stderr.close()
        recovery.kill_leftovers(self.home)
        self.store.close()
        self.waker.close()

    # -- the supervisor ------------------------------------------------------------------------

    def launch(self) -> subprocess.Popen[bytes]:
        """Start a supervisor; does not wait for it."""
        config = Config.model_validate(
            {
                "tmux": {"enabled": False},
                "sandbox": {"mode": "off"},
                "supervisor": {"backoff_first_s": 0.05, "backoff_max_s": 0.2, **self.settings},
            }
        )
        arguments = ["-m", "tests.support.crew_server", str(self.home.path), config.to_json()]
        server = subprocess.Popen(
            [sys.executable, *arguments, str(self.start_patience_s)], cwd=ROOT, stderr=subprocess.PIPE
        )
        self.servers.append(server)
        return server

    def up(self) -> subprocess.Popen[bytes]:
        """Start a supervisor and wait until it is ready."""
        server = self.launch()

        def is_ready() -> bool:
            assert server.poll() is None, server.communicate()[1].decode()
            holder = status.holder(self.home)
            return holder is not None and holder.ready and holder.pid == server.pid

        eventually(is_ready, "the supervisor is ready", within_s=20)
        return server

    def down(self, server: subprocess.Popen[bytes], *, within_s: float = 15.0) -> int:
        """Shut the supervisor down with SIGTERM, wait for it and return its exit status."""
        server.terminate()
        return server.wait(timeout=within_s)

    # -- children ------------------------------------------------------------------------------

    def want(
        self, *names: str, kind: str = "obedient", role: Role | None = None, project: str | None = None
    ) -> None:
        """Write rows of actors that should run, and notify the supervisor, if it runs."""
        with self.store.write() as tx:
            for name in names:
                crew.add_agent(tx, name=name, kind=kind, role=role, project=project, now=NOW)
            mailbox.post(tx, HUMAN, SUPERVISOR, ProjectChanged(), now=NOW)

    def unwant(self, name: str) -> None:
        with self.store.write() as tx:
            crew.change_agent(tx, name, wanted=False)
            mailbox.post(tx, HUMAN, SUPERVISOR, ProjectChanged(), now=NOW)

    def row(self, name: str) -> Agent:
        return crew.agent(self.store, name)

    def running(self, name: str, *, generation: int = 1, within_s: float = 10.0) -> int:
        """Wait until `name` runs under at least `generation`; returns its pid."""

        def pid() -> int:
            row = self.row(name)
            is_there = row.state is AgentState.RUNNING and row.generation >= generation
            return (row.pid or 0) if is_there else 0

        return eventually(pid, f"{name} runs, generation {generation} or later", within_s=within_s)

    def tell(self, name: str, words: str, **values: Any) -> int:
        """Send a text from the user; returns the message's id."""
        return mailbox.send(self.store, HUMAN, name, Text(text=words), now=NOW, **values)

    def answer(self, message_id: int, *, within_s: float = 10.0) -> str:
        """Wait for the answer and return its text."""
        what = f"message {message_id} is answered"
        found = eventually(lambda: inbox.replies(self.store, message_id), what, within_s=within_s)
        return str(found[0].body["text"])

    def ask(self, name: str, words: str) -> str:
        return self.answer(self.tell(name, words))


def send_signal(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal one process. Pids 0 and 1 are refused: they would mean the whole group, or init."""
    assert pid > 1, f"no process: {pid}"
    os.kill(pid, number)


def processes_of(home: Home) -> list[psutil.Process]:
    """The processes that hold an actor's lock of this home; their pids are read from the lock files."""
    found = []
    for path in home.run.glob("*.lock"):
        if path != home.supervisor_lock and file_lock.is_held(path):
            found.append(psutil.Process(int(path.read_text().split()[0])))
    return found


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def children_with(pid: int, text: str) -> list[int]:
    """The pids of a process's live children whose title or command line contains `text`."""
    found = []
    for child in psutil.Process(pid).children():
        try:
            if text in " ".join(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child.pid)
        except psutil.Error:
            continue
    return found


def descriptors(pid: int) -> int:
    """The number of descriptors that a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
