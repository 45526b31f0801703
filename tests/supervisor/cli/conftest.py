"""The real command in a process of its own, on a home and a repository of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from actors.home import Home
from actors.rehearsal.script import load_script
from actors.rehearsal.server import RehearsalServer
from actors.settings import Config
from store import crew
from store.engine import Store
from store.rows import Project
from store.states import Role
from supervisor.cli import app
from supervisor.health import status
from supervisor.policy import tree
from supervisor.process import recovery
from supervisor.project_spec.deploy import deploy
from supervisor.project_spec.parse import parse_spec
from tests.actors.git.user_repository import UserRepository
from tests.support.stores import NOW, make_file

ROOT = Path(__file__).resolve().parents[3]
SPEC = """\
PROJECT: Shop
GOAL: Give shop.py a function that adds up prices

DELIVERABLES:
1. total(prices) in shop.py

CHECKS:
- python3 -m unittest -v test_shop
"""
TEST = """\
import unittest

from shop import total


class Total(unittest.TestCase):
    def test_adds_up(self):
        self.assertEqual(total([1, 2]), 3)
"""
FILES = {"shop.py": '"""A shop."""\n', "test_shop.py": TEST}


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, str]:
        found: dict[str, str] = self.json()["error"]
        return found


@dataclass
class Cli:
    """`nightcrew` as a user runs it; `env` is added to an environment without any settings."""

    home: Home
    cwd: Path
    env: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __call__(self, *words: str, stdin: str = "", timeout_s: float = 90) -> Done:
        done = subprocess.run(
            self._argv(words),
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.cwd,
            env=self._environment(),
            timeout=timeout_s,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Without waiting for its end."""
        process = subprocess.Popen(
            self._argv(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.cwd,
            env=self._environment(),
        )
        self.started.append(process)
        return process

    def _argv(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "supervisor.cli", *words]

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("NIGHTCREW_", "GIT_", "TMUX", "_NIGHTCREW"))
        }
        kept.pop("OLLAMA_HOST", None)
        return kept | {"NIGHTCREW_HOME": str(self.home.path), "PYTHONPATH": str(ROOT)} | self.env

    def close(self) -> None:
        """Nothing of this home is left running."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        holder = status.holder(self.home)
        if holder is not None:
            self("down")
        holder = status.holder(self.home)
        if holder is not None and holder.pid:
            os.kill(holder.pid, signal.SIGKILL)
        if self.home.run.is_dir():
            recovery.kill_leftovers(self.home)


class InProcess:
    """The same without a process of its own, for what needs none."""

    def __init__(self, home: Home, cwd: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self.cwd = cwd
        self._capsys = capsys

    def __call__(self, *words: str, stdin: str = "") -> Done:
        self._capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NIGHTCREW_HOME", str(self.home.path))
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            code = app.run(words)
        said = self._capsys.readouterr()
        return Done(code, said.out, said.err)


@pytest.fixture
def quick(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> InProcess:
    return InProcess(home, tmp_path, capsys)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def cli(home: Home, tmp_path: Path) -> Iterator[Cli]:
    made = Cli(home, tmp_path)
    yield made
    made.close()


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    """A store as the first `up` leaves it, without a supervisor."""
    home.make()
    make_file(home.store)
    opened = Store(home.store)
    with opened.write() as tx:
        tree.add_services(tx, now=NOW, tmux=True)
    yield opened
    opened.close()


@pytest.fixture
def repository(tmp_path: Path) -> UserRepository:
    return UserRepository(tmp_path / "Äpfel & Birnen", files=FILES)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.md"
    path.write_text(SPEC)
    return path


@pytest.fixture
def shop(store: Store, home: Home, repository: UserRepository) -> Project:
    """The project `shop` with its manager, its gate and an engineer; nobody runs."""
    row = deploy(store, home, Config(), parse_spec(SPEC, "spec"), repository.path)
    with store.write() as tx:
        crew.add_agent(
            tx, name="engineer-1.shop", kind="agent", role=Role.ENGINEER, project=row.name, now=NOW
        )
    return row


@pytest.fixture
def model() -> Iterator[RehearsalServer]:
    """The scripted model of these tests; what it writes makes the check pass."""
    with RehearsalServer(load_script(Path(__file__).parent / "script.toml")) as server:
        yield server


@pytest.fixture
def live(cli: Cli, model: RehearsalServer) -> Cli:
    """The command with a model behind it."""
    cli.env["NIGHTCREW_MODEL_HOSTS"] = model.url
    return cli
