"""A small but complete run for crash tests: a real crew on a real repository, with a scripted model.

One project, two engineers, one task each. Commands append to files in the worktree, so a command that ran twice is
visible in the merged branch. A killed supervisor is restarted, as a service manager would do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.home import Home
from actors.rehearsal.script import parse_script
from actors.rehearsal.server import RehearsalServer
from actors.runtime.wake import Waker
from actors.screen.attach import kill_server
from actors.settings import Config
from store import crew, inbox, timers
from store.engine import Store
from store.failpoints import VARIABLE
from store.rows import Message
from store.states import AgentState, MessageState, ProjectState
from store.upkeep import migrate
from supervisor.process import recovery
from supervisor.project_spec.deploy import deploy
from supervisor.project_spec.parse import parse_spec
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "night"
WORDS = ("one", "two")
SPEC = """\
PROJECT: Night
GOAL: Give the two modules their functions
DELIVERABLES:
1. one() in one.py returns 1
2. two() in two.py returns 2
CHECKS:
- python3 -m unittest test_one test_two
"""
CONFIG = """\
[model]
hosts = ["{url}"]
[work]
engineers = 2
[supervisor]
intensity = 100
backoff_first_s = 0.05
backoff_max_s = 0.1
[tmux]
enabled = {tmux}
"""


def _engineer(word: str) -> dict[str, Any]:
    command = f"echo ran >> evidence-{word}.txt; echo running; sleep 0.2; echo over"
    module = f"def {word}():\n    return 0\n"
    number = WORDS.index(word) + 1
    steps: list[tuple[str, dict[str, Any]]] = [
        ("shell", {"command": command}),
        ("write_file", {"path": f"{word}.py", "content": module}),
        ("edit_file", {"path": f"{word}.py", "old_text": "return 0", "new_text": f"return {number}"}),
        ("submit_task", {"summary": f"{word} returns its number"}),
    ]
    replies = [{"text": tool, "calls": [{"tool": tool, "arguments": words}]} for tool, words in steps]
    return {"role": "engineer", "when": f"Write {word}", "reply": replies}


def script() -> dict[str, Any]:
    """What the scripted model answers: the same to every repeated request."""
    plan = [
        {
            "tool": "assign_task",
            "arguments": {
                "title": f"Write {word}",
                "description": f"{word}() in {word}.py",
                "role": "engineer",
            },
        }
        for word in WORDS
    ]
    finish = {"tool": "finish_project", "arguments": {"summary": "Both are merged."}}
    manager = "project_manager"
    return {
        "scene": [
            {
                "role": manager,
                "when": "You manage the project",
                "reply": [{"text": "Two tasks.", "calls": plan}, {"text": "Planned."}],
            },
            {
                "role": manager,
                "when": "No task is open any more",
                "reply": [{"text": "The end.", "calls": [finish]}],
            },
            {"role": "orchestrator", "when": "heck-in", "reply": [{"text": "All is well."}]},
            *(_engineer(word) for word in WORDS),
        ]
    }


@contextmanager
def scripted_model() -> Iterator[str]:
    """The URL of a model server that plays `script`; several runs may share it."""
    with RehearsalServer(parse_script(script())) as server:
        yield server.url


@dataclass
class Night:
    """One crew in its own folder."""

    folder: Path
    url: str
    tmux: bool = False
    server: subprocess.Popen[bytes] | None = None
    starts: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def marker(self) -> Path:
        return self.folder / "killed"

    def arm(self, who: str, instant: str, count: int = 1, number: str = "SIGKILL") -> None:
        """Set a failpoint at which the next supervisor or a child of it is killed. Call before `start`."""
        self.environment[VARIABLE] = f"{who}:{instant}:{count}:{number}:{self.marker}"

    def prepare(self) -> None:
        """Create repository, store, project and two timers for the orchestrator. Starts no process of the crew."""
        self.repository.mkdir(parents=True)
        for word in WORDS:
            test = (
                f"import unittest\n\n\nclass T(unittest.TestCase):\n    def test_{word}(self):\n"
                f"        import {word}\n\n        self.assertEqual({word}.{word}(), {WORDS.index(word) + 1})\n"
            )
            (self.repository / f"test_{word}.py").write_text(test)
        identity = ("-c", "user.name=Night", "-c", "user.email=night@localhost")
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", "--all")
        self.git(*identity, "commit", "--quiet", "--message=Two functions are missing")
        self.home.make()
        config = CONFIG.format(url=self.url, tmux=str(self.tmux).lower())
        (self.home.path / "nightcrew.toml").write_text(config)
        migrate.ensure(self.home.store)
        self.waker = Waker(self.home.run)
        self.store = Store(self.home.store, notify=self.waker)
        deploy(self.store, self.home, Config(), parse_spec(SPEC, "night"), self.repository, 2, False)
        now = time.time()
        with self.store.write() as tx:
            for every_s in (None, 0.7):
                timers.add(
                    tx, recipient="orchestrator", note="Is all well?", due_at=now + 0.2, every_s=every_s,
                    created_by="human", now=now, key=f"test:{every_s}",
                )  # fmt: skip

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.repository, check=True, capture_output=True, text=True
        )
        return done.stdout

    def start(self) -> None:
        """Start `nightcrew up --foreground` in its own process."""
        environment = {**os.environ, **self.environment, "NIGHTCREW_HOME": str(self.home.path)}
        environment["PYTHONPATH"] = str(ROOT)
        environment.pop("OLLAMA_HOST", None)
        with (self.folder / "server.stderr").open("ab") as stderr:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "supervisor.cli", "up", "--foreground", "--detached"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )
        self.starts += 1

    def watch_over(self) -> None:
        """Restart the supervisor if it was killed. Fails if it exited on its own."""
        assert self.server is not None
        code = self.server.poll()
        if code is not None:
            assert code == -9, f"the supervisor ended with {code}: {self.said()}"
            self.start()

    def said(self) -> str:
        return (self.folder / "server.stderr").read_text()

    def play(self, *, within_s: float = 40.0) -> None:
        """Run until the project is finished, all its agents are stopped and no mailbox has unhandled messages."""
        if self.server is None:
            self.start()

        def at_rest() -> bool:
            self.watch_over()
            project = crew.project(self.store, PROJECT)
            if project.state != ProjectState.FINISHED:
                return False
            team = crew.all_agents(self.store, project=PROJECT)
            if any(row.state != AgentState.STOPPED for row in team):
                return False
            self._end_check_ins()
            return not self.unfinished()

        eventually(at_rest, f"the crew comes to rest\n{self.said()}", within_s=within_s)

    def unfinished(self) -> list[Message]:
        """Unhandled messages to the supervisor and to agents that should be running."""
        wanted = {row.name for row in crew.all_agents(self.store) if row.wanted} | {"supervisor"}
        states = (MessageState.READY, MessageState.CLAIMED)
        rows = [row for state in states for row in inbox.listed(self.store, state=state, most=1000)]
        return [row for row in rows if row.recipient in wanted]

    def _end_check_ins(self) -> None:
        for timer in timers.listed(self.store):
            if (timer.key or "").startswith("test:"):
                with self.store.write() as tx:
                    timers.cancel(tx, timer.id)

    def stop(self) -> int:
        """Shut the supervisor down with SIGTERM and return its exit status."""
        assert self.server is not None
        self.server.terminate()
        return self.server.wait(timeout=20)

    def close(self) -> None:
        """Stop all processes of the crew, also after a failure."""
        if self.server is not None and self.server.poll() is None:
            self.server.kill()
            self.server.wait()
        recovery.kill_leftovers(self.home)
        if self.tmux:
            kill_server(self.home.run)
        self.store.close()
        self.waker.close()
