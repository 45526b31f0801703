"""A complete crew as users see it: the real command line, a home folder and a scripted model server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from actors.home import Home
from store import crew, tasks
from store.engine import Store
from store.rows import Agent, Project, Task
from supervisor.health.status import holder
from supervisor.process import recovery
from tests.support.script_words import Scene
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
COMMAND_PATIENCE_S = 90.0
IDENTITY = ("-c", "user.name=Tester", "-c", "user.email=tester@localhost")


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a command that has exited."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The caller's variables without those that affect the crew, git or tmux, and with HOME below `folder`."""
    user = folder / "user"
    user.mkdir(parents=True, exist_ok=True)
    foreign = ("NIGHTCREW_", "GIT_", "XDG_", "TMUX", "OLLAMA_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return kept | {"HOME": str(user), "PYTHONPATH": str(ROOT)} | more


def command(*arguments: str) -> list[str]:
    """The argument list of `nightcrew ARGUMENTS` for this interpreter, usable from any working directory."""
    return [sys.executable, "-m", "supervisor.cli", *arguments]


def run(arguments: Sequence[str], cwd: Path, env: dict[str, str], *, said: str = "") -> Done:
    """Run one command to its end. `said` is its standard input."""
    done = subprocess.run(
        list(arguments),
        cwd=cwd,
        env=env,
        input=said,
        capture_output=True,
        text=True,
        timeout=COMMAND_PATIENCE_S,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def git(repository: Path, *arguments: str) -> str:
    """Git's standard output without the last newline."""
    done = subprocess.run(
        ["git", *IDENTITY, *arguments], cwd=repository, capture_output=True, text=True, check=True
    )
    return done.stdout.rstrip("\n")


def make_repository(path: Path, files: dict[str, str]) -> Path:
    """Create a repository with one commit on `main`, which contains `files` and the existing files in `path`."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    git(path, "init", "--quiet", "--initial-branch=main")
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "--message=The beginning")
    return path


def spec_text(project: str, deliverables: Sequence[str], checks: Sequence[str]) -> str:
    """The text of a spec with numbered deliverables and a list of checks."""
    numbered = [f"{number}. {text}" for number, text in enumerate(deliverables, 1)]
    lines = [f"PROJECT: {project}", f"GOAL: Give {project} what its deliverables name", ""]
    lines += ["DELIVERABLES:", *numbered, "", "CHECKS:", *(f"- {check}" for check in checks), ""]
    return "\n".join(lines)


@dataclass(slots=True)
class ModelServer:
    """The scripted model in its own process, which can be stopped and started again on the same port."""

    script: Path
    port: int = 0
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        arguments = ["-m", "actors.rehearsal", "--script", str(self.script), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [sys.executable, *arguments, "--until-stdin-closes"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        url = self.process.stdout.readline().strip()
        assert url, "the scripted model's server did not start"
        self.port = int(url.rpartition(":")[2])

    def stop(self) -> None:
        """Kill the server, so that connections break within a token. Does nothing if it is not running."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process = None


@dataclass(slots=True)
class WholeCrew:
    """One home in `folder` with its model server. Create it with `begin`, stop everything with `end`."""

    folder: Path
    home: Home
    server: ModelServer
    _store: Store | None = field(default=None)

    @property
    def config(self) -> Path:
        return self.folder / "nightcrew.toml"

    @property
    def store(self) -> Store:
        """The crew's store, for reading. It exists after a supervisor has run."""
        if self._store is None:
            self._store = Store(self.home.store)
        return self._store

    def end(self) -> None:
        """Stop everything: supervisor, actors, tmux server and model server."""
        self.run("down")
        found = holder(self.home)
        if found is not None and found.pid > 1:
            os.kill(found.pid, signal.SIGKILL)
        if self.home.run.is_dir():
            recovery.kill_leftovers(self.home)
        if self._store is not None:
            self._store.close()
        self.server.stop()

    # -- the command line ----------------------------------------------------------------------

    def command(self, *arguments: str) -> list[str]:
        return command("--home", str(self.home.path), "--config", str(self.config), *arguments)

    def run(self, *arguments: str, said: str = "", **env: str) -> Done:
        """Run one command; any exit status is accepted."""
        return run(self.command(*arguments), self.folder, environment(self.folder, **env), said=said)

    def ok(self, *arguments: str, said: str = "") -> Done:
        """Run one command that must succeed."""
        done = self.run(*arguments, said=said)
        assert done.code == 0, f"nightcrew {' '.join(arguments)}: {done.code}\n{done.out}\n{done.err}"
        return done

    def launch(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command without waiting for it."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=environment(self.folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def deploy(
        self,
        project: str,
        repository: Path,
        deliverables: Sequence[str],
        checks: Sequence[str],
        *options: str,
    ) -> Done:
        """Write a spec of these deliverables and checks, and `nightcrew run` it on the repository."""
        spec = self.folder / f"{project}.md"
        spec.write_text(spec_text(project, deliverables, checks))
        return self.ok("run", str(spec), "--repo", str(repository), *options)

    # -- reading -------------------------------------------------------------------------------

    def agent(self, name: str) -> Agent:
        return crew.agent(self.store, name)

    def project(self, name: str) -> Project:
        return crew.project(self.store, name)

    def tasks(self, project: str) -> list[Task]:
        return tasks.of_project(self.store, project)

    def until_doing(self, agent: str, activity: str, *, within_s: float = 20.0) -> Agent:
        """The agent's row once its process runs and does `activity`."""

        def row() -> Agent | None:
            found = crew.find_agent(self.store, agent)
            is_there = found and found.state == "running" and found.pid
            return found if found and is_there and found.activity == activity else None

        found = eventually(row, f"{agent} is doing {activity}", within_s=within_s)
        assert found is not None
        return found

    def until_finished(self, project: str, *, within_s: float = 60.0) -> None:
        try:
            eventually(
                lambda: self.project(project).state == "finished",
                f"{project} is finished",
                within_s=within_s,
            )
        except AssertionError as error:
            shown = [(row.title, row.state, row.assignee) for row in self.tasks(project)]
            raise AssertionError(f"{error}; tasks: {shown}\n{self.run('status').out}") from error

    def tmux(self, *arguments: str) -> str:
        """The output of the crew's tmux; empty if its server does not run."""
        done = subprocess.run(
            ["tmux", "-S", "tmux.sock", *arguments],
            cwd=self.home.run,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout


def begin(
    folder: Path, scenes: Sequence[Scene], *, config: str = "", home: str = "home", token_delay_ms: int = 2
) -> WholeCrew:
    """A crew whose model server runs, without a supervisor. `config` is TOML that follows the `[model]` hosts."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "script.json"
    script.write_text(json.dumps({"token_delay_ms": token_delay_ms, "scene": list(scenes)}))
    made = WholeCrew(folder, Home(folder / home), ModelServer(script))
    made.server.start()
    made.config.write_text(f'[model]\nhosts = ["{made.server.url}"]\n{config}')
    return made


def processes_touching(folder: Path) -> list[str]:
    """Live processes with `folder` in their command line, working directory or open files."""
    wanted, found = str(folder), []
    for process in psutil.process_iter():
        try:
            paths = [*process.cmdline(), process.cwd(), *(file.path for file in process.open_files())]
        except psutil.Error:
            continue
        if any(wanted in path for path in paths):
            found.append(f"{process.pid}: {' '.join(process.cmdline())}")
    return found
