"""The environment of a drill: a crew's home, a scripted model server, and a supply of projects."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from actors.home import Home
from actors.runtime.wake import Waker
from store import crew, inbox, timers
from store.engine import Store
from store.errors import NightcrewError
from store.rows import Agent, Task
from store.states import AgentState, MessageState, ProjectState
from store.upkeep import migrate
from supervisor import config
from supervisor.errors import NotReady
from supervisor.health import status
from supervisor.project_spec.deploy import deploy
from supervisor.project_spec.parse import parse_spec
from supervisor.upkeep import shifted_clock

SCRIPT = Path(__file__).parent / "rehearsal" / "drill.toml"
WORDS = ("one", "two", "three")
LIVE_PROJECTS = 2
HOME_MB = 512
# Without quarantine and backoff, so that all recoveries can be measured alike. In normal operation only the
# first crash within a window is followed by an immediate restart.
CONFIG = """\
[model]
hosts = ["{url}"]
[model.limits]
connect_s = 5
first_token_s = 20
idle_s = 20
total_s = 60
[work]
engineers = 2
shell_timeout_s = 30
[check_ins]
manager_minutes = 0.1
orchestrator_minutes = 0.1
[supervisor]
intensity = 1000000
intensity_window_s = 1
backoff_first_s = 0
[retention]
min_free_mb = 16
"""
SPEC = """\
PROJECT: Drill {number}
GOAL: Give the three modules their functions
DELIVERABLES:
1. one() in one.py gives "one"
2. two() in two.py gives "two"
3. three() in three.py gives "three"
CHECKS:
- python3 -m unittest test_one test_two test_three
"""
TEST = """\
import unittest


class Test(unittest.TestCase):
    def test_{word}(self):
        import {word}

        self.assertEqual({word}.{word}(), "{word}")
"""


@dataclass
class Stage:
    """Call `open` before use and `close` at the end. All files are in `folder`."""

    folder: Path
    clock: shifted_clock.ShiftedClock = field(init=False)
    model: subprocess.Popen[str] | None = None
    url: str = ""
    projects: int = 0
    on_tmpfs: bool = False

    def open(self) -> None:
        """Create the home (on a small file system of its own if permitted), the store and the model server."""
        self.home = Home(self.folder / "home")
        self.home.path.mkdir(parents=True, mode=0o700)
        self.on_tmpfs = _mount_tmpfs(self.home.path)
        self.clock = shifted_clock.ShiftedClock(self.folder / "clock")
        self.environment = _clean(shifted_clock.environment_for(self.clock))
        self._disarm = shifted_clock.arm(self.environment)
        self.start_model()
        self.config_file = self.folder / "nightcrew.toml"
        self.config_file.write_text(CONFIG.format(url=self.url))
        self.config = config.load({}, self.config_file).config
        self.home.make()
        migrate.ensure(self.home.store)
        self.waker = Waker(self.home.run)
        self.store = Store(self.home.store, notify=self.waker)

    def close(self) -> None:
        """Stop the crew and the model server; the folder stays."""
        try:
            self.nightcrew("down", check=False)
            self.store.close()
            self.waker.close()
        finally:
            self.end_model()
            self._disarm()

    def remove(self) -> None:
        """Unmount and delete everything."""
        if self.on_tmpfs:
            subprocess.run(["umount", "--lazy", str(self.home.path)], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def nightcrew(self, *words: str, check: bool = True) -> None:
        """Run a command as a user would. Raises `NightcrewError` with its output if it fails."""
        command = [sys.executable, "-m", "supervisor.cli", "--home", str(self.home.path)]
        command += ["--config", str(self.config_file), *words]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, check=False)
        if check and done.returncode != 0:
            raise NightcrewError(
                f"`nightcrew {' '.join(words)}` failed: {(done.stderr or done.stdout).strip()}"
            )

    # -- the model server ----------------------------------------------------------------------

    def start_model(self) -> None:
        """Start the server, always on the same port. It ends when its standard input closes."""
        port = self.url.rpartition(":")[2] or "0"
        words = ["--script", str(SCRIPT), "--port", port, "--until-stdin-closes"]
        self.model = subprocess.Popen(
            [sys.executable, "-m", "actors.rehearsal", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment,
            text=True,
        )
        assert self.model.stdout is not None
        self.url = self.model.stdout.readline().strip()
        if not self.url:
            raise NotReady("the scripted model's server did not start; see the message above")

    def end_model(self) -> None:
        """Kill the server; harmless if it has ended."""
        if self.model is not None:
            self.model.kill()
            self.model.communicate()
            self.model = None

    # -- work ----------------------------------------------------------------------------------

    def keep_busy(self) -> None:
        """Deploy a new project for each that has ended. Raises a `StoreError` while the disk is full."""
        live = [row for row in crew.all_projects(self.store) if row.state == ProjectState.ACTIVE]
        for _ in range(LIVE_PROJECTS - len(live)):
            number = self.projects + 1
            spec = parse_spec(SPEC.format(number=number), "drill")
            deploy(self.store, self.home, self.config, spec, self._repository(number), qa=False)
            self.projects = number

    def _repository(self, number: int) -> Path:
        path = self.folder / "repositories" / f"drill-{number}"
        if (path / ".git" / "refs" / "heads" / "main").exists():
            return path
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        for word in WORDS:
            (path / f"test_{word}.py").write_text(TEST.format(word=word))
        identity = ("-c", "user.name=Drill", "-c", "user.email=drill@localhost")
        for words in (
            ("init", "--quiet", "--initial-branch=main"),
            ("add", "--all"),
            (*identity, "commit", "--quiet", "--message=Three functions are missing"),
        ):
            subprocess.run(["git", *words], cwd=path, check=True, env=self.environment)
        return path

    def end_check_ins(self) -> None:
        """Cancel all check-ins, so that the crew can become idle."""
        for timer in timers.listed(self.store):
            with self.store.write() as tx:
                timers.cancel(tx, timer.id)

    def is_idle(self) -> bool:
        """Whether every project has ended, and no agent that is still wanted has unhandled messages."""
        if any(row.state == ProjectState.ACTIVE for row in crew.all_projects(self.store)):
            return False
        wanted = {row.name for row in crew.all_agents(self.store) if row.wanted} | {"supervisor"}
        states = (MessageState.READY, MessageState.CLAIMED)
        rows = [row for state in states for row in inbox.listed(self.store, state=state, most=10_000)]
        return not any(row.recipient in wanted for row in rows)

    # -- processes -----------------------------------------------------------------------------

    def running(self) -> list[Agent]:
        """The rows of the ready actors. The title of each process is checked, as pids are reused."""
        rows = [row for row in crew.all_agents(self.store) if row.state is AgentState.RUNNING]
        return [row for row in rows if row.pid and _title(row.pid) == f"nightcrew: {row.name}"]

    def supervisor_pid(self) -> int | None:
        """The pid of the supervisor; None unless it is ready."""
        found = status.holder(self.home)
        return found.pid if found is not None and found.ready and found.pid else None

    def zygote_pid(self) -> int | None:
        with suppress(psutil.Error):
            for child in psutil.Process(self.supervisor_pid() or 0).children():
                if _title(child.pid) == "nightcrew: zygote":
                    return int(child.pid)
        return None

    def tmux_pid(self) -> int | None:
        """The pid of the tmux server."""
        with suppress(ValueError, OSError, subprocess.TimeoutExpired):
            words = ["tmux", "-S", str(self.home.run / "tmux.sock"), "display-message", "-p", "#{pid}"]
            done = subprocess.run(words, capture_output=True, text=True, timeout=5, check=False)
            return int(done.stdout)
        return None


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> bool:
    """Send the signal; False if the process has ended. Refuses pids 0 and 1: our own group, and init."""
    if pid <= 1:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def _title(pid: int) -> str:
    with suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline()).strip()
    return ""


def _clean(environment: dict[str, str]) -> dict[str, str]:
    """The environment without variables that would change the crew's settings or git."""
    return {
        key: value
        for key, value in environment.items()
        if not key.startswith(("NIGHTCREW_", "GIT_")) and key != "OLLAMA_HOST"
    }


def _mount_tmpfs(path: Path) -> bool:
    """Mount a small file system that the drill can fill; False if that is not possible or not permitted."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    words = ["mount", "-t", "tmpfs", "-o", f"size={HOME_MB}m,mode=0700", "nightcrew-drill", str(path)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def count_runs(stage: Stage, row: Task, word: str) -> int:
    """How often the command of a merged task has run, by the lines that it left on the branch."""
    project = crew.project(stage.store, row.project)
    name = f"{project.branch}:evidence-{word}.txt"
    done = subprocess.run(
        ["git", "show", name], cwd=project.repository, capture_output=True, text=True, check=False
    )
    return done.stdout.count("ran")
