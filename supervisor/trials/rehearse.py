"""`nightcrew rehearse`: a whole crew works for about a minute. Only the model is scripted.

The repository, command line, supervisor, agents, sandbox, gate and tmux are real. A check-in is sent, one
submission is refused and repaired, an engineer is killed during a command, and the supervisor is killed while
agents work. Afterwards the checks run again on the merged branch, and an audit looks for anything that was
lost, done twice or left stuck.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil

from actors.git.checkouts import checkout_scratch, remove_worktree
from actors.git.refs import head_of
from actors.git.repository import open_repository
from actors.home import Home
from store import crew, incidents, journal, tasks
from store.engine import Store
from store.errors import NightcrewError
from store.rows import Agent, Project, Task
from store.states import Activity, IntentState, Role, TaskState
from supervisor.errors import NotReady
from supervisor.trials.audit import audit
from supervisor.trials.rehearse_outcome import Kill, Outcome

T = TypeVar("T")
DATA = Path(__file__).parent / "rehearsal"
TIMEOUT_S = 150.0
POLL_S = 0.01
PROJECT = "rehearsal"
CONFIG = """\
[model]
hosts = ["{url}"]

[work]
engineers = 2

[supervisor]
backoff_first_s = 0.2
"""


Report = Callable[[str], None]  # gets lines of progress for people


def rehearse(home: Path, *, keep: bool = False, report: Report = print) -> Outcome:
    """Run the rehearsal in a folder of its own inside `home`, which is removed at the end unless `keep`."""
    started = time.monotonic()
    stage = home / "rehearsal" / f"{int(time.time())}-{os.getpid()}"
    stage.mkdir(parents=True, mode=0o700)
    empty_before = [folder for folder in (stage.parent, home) if len(list(folder.iterdir())) == 1]
    report("Rehearsal with a scripted model; everything else is real.")
    try:
        with _scripted_model() as url:
            outcome = _Rehearsal(stage, url, report).run()
    finally:
        if not keep:
            shutil.rmtree(stage, ignore_errors=True)
            for folder in empty_before:
                with suppress(OSError):
                    folder.rmdir()
    outcome.seconds = round(time.monotonic() - started, 1)
    return outcome


@contextmanager
def _scripted_model() -> Iterator[str]:
    """Run the scripted model's server. It ends when its standard input closes, so it does not outlive us."""
    script = str(DATA / "script.toml")
    with subprocess.Popen(
        [sys.executable, "-m", "actors.rehearsal", "--script", script, "--until-stdin-closes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        if not url:
            raise NotReady("the scripted model's server did not start; see the message above")
        try:
            yield url
        finally:
            server.stdin.close()


class _Rehearsal:
    """The folder of one rehearsal, with the crew's home and the repository in it, and the outcome so far."""

    def __init__(self, stage: Path, url: str, report: Report) -> None:
        self.home = Home(stage / "home")
        self.repository = stage / "textkit"
        self.spec = stage / "spec.md"
        self.config = stage / "nightcrew.toml"
        self.url = url
        self.report = report
        self.outcome = Outcome(repository=str(self.repository))

    def run(self) -> Outcome:
        """Run everything, from the empty folder to the audit. The crew is stopped whatever happens."""
        self._make_files()
        try:
            self._nightcrew("run", str(self.spec), "--repo", str(self.repository), "--engineers", "2", "--qa")
            self.report(
                "The crew is running: two engineers, QA, a manager, gate, orchestrator, timer and tmux."
            )
            store = Store(self.home.store)
            try:
                self._disturb(store)
                self._wait(store, "the project's end", lambda: self._project(store).state == "finished")
                self._collect(store)
            finally:
                store.close()
        finally:
            self._nightcrew("down", check=False)
        return self.outcome

    def _make_files(self) -> None:
        for name, content in tomllib.loads((DATA / "project.toml").read_text()).items():
            path = self.repository / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content.removeprefix("\n"))
        identity = ("-c", "user.name=Rehearsal", "-c", "user.email=rehearsal@localhost")
        for words in (
            ("init", "--quiet", "--initial-branch=main"),
            ("add", "--all"),
            (*identity, "commit", "--quiet", "--message=Three functions are missing"),
        ):
            subprocess.run(["git", *words], cwd=self.repository, check=True, env=_environment())
        shutil.copy(DATA / "spec.md", self.spec)
        self.config.write_text(CONFIG.format(url=self.url))

    def _nightcrew(self, *words: str, check: bool = True) -> str:
        """Run a command as a user would; returns its standard output. Raises `NightcrewError` if it fails."""
        command = [sys.executable, "-m", "supervisor.cli", "--home", str(self.home.path)]
        command += ["--config", str(self.config), *words]
        done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
        if check and done.returncode != 0:
            raise NightcrewError(
                f"`nightcrew {' '.join(words)}` failed with exit code {done.returncode}: "
                f"{(done.stderr or done.stdout).strip()}"
            )
        return done.stdout

    # -- faults --------------------------------------------------------------------------------

    def _disturb(self, store: Store) -> None:
        self._nightcrew("schedule", "0.02", "Is everyone busy?", "--agent", f"pm.{PROJECT}")
        self._kill_an_engineer(store)
        self._wait(store, "a refused submission", lambda: any(t.attempts for t in self._tasks(store)))
        self.report("The checks refused a submission; its engineer repairs it.")
        self._kill_the_supervisor(store)

    def _kill_an_engineer(self, store: Store) -> None:
        """Kill an engineer during a command: the worst moment, because the outcome is then unknown."""

        def victim() -> Agent | None:
            running = {
                row.agent for row in journal.listed(store, IntentState.INTENDED) if row.tool == "shell"
            }
            team = (row for row in self._agents(store) if row.role is Role.ENGINEER)
            return next((r for r in team if r.pid and r.name in running and _runs_a_command(r.pid)), None)

        row = self._wait(store, "an engineer to run a command", victim)
        assert row.pid is not None, "`victim` has seen its process"
        self.report(f"kill -9 {row.pid}: {row.name}, during a command.")
        self._kill(store, row.name, "during a command", row, row.pid)

    def _kill_the_supervisor(self, store: Store) -> None:
        """Kill the supervisor while an agent works, then run `up`, as a service manager would."""
        holder = json.loads(self.home.supervisor_lock.read_text())
        busy = self._wait(
            store,
            "an agent to work",
            lambda: next((r for r in self._agents(store) if r.activity != Activity.IDLE), None),
        )
        self.report(f"kill -9 {holder['pid']}: the supervisor, while {busy.name} works.")
        self._kill(store, "supervisor", f"while {busy.name} worked", busy, holder["pid"])

    def _kill(self, store: Store, who: str, doing: str, agent: Agent, pid: int) -> None:
        """Kill a process and measure the time until `agent` has made progress again."""
        killed_at = time.monotonic()
        # A process that has just ended by itself must be replaced as well.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if who == "supervisor":
            self._nightcrew("up")

        def progressed() -> bool:
            now = crew.agent(store, agent.name)
            again = now.generation > agent.generation
            return again and (now.last_progress_at or 0) > (agent.last_progress_at or 0)

        self._wait(store, f"{agent.name} to continue", progressed)
        recovered_ms = round((time.monotonic() - killed_at) * 1000)
        self.outcome.deaths.append(Kill(who, doing, recovered_ms))
        self.report(f"  work went on after {recovered_ms} ms.")

    # -- results -------------------------------------------------------------------------------

    def _wait(self, store: Store, what: str, find: Callable[[], T | None]) -> T:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            found = find()
            if found:
                return found
            if time.monotonic() > deadline:
                states = ", ".join(f"task {t.id} {t.state}" for t in self._tasks(store))
                raise NightcrewError(
                    f"timeout after {TIMEOUT_S:.0f} s while waiting for {what} ({states or 'no task was planned'}); "
                    f"run again with --keep and check the logs in {self.home.logs}"
                )
            time.sleep(POLL_S)

    def _project(self, store: Store) -> Project:
        return crew.project(store, PROJECT)

    def _agents(self, store: Store) -> list[Agent]:
        return crew.all_agents(store, project=PROJECT)

    def _tasks(self, store: Store) -> list[Task]:
        return tasks.of_project(store, PROJECT)

    def _collect(self, store: Store) -> None:
        outcome, rows, project = self.outcome, self._tasks(store), self._project(store)
        outcome.branch = project.branch
        outcome.tasks = len(rows)
        outcome.merged = sum(row.state == TaskState.MERGED for row in rows)
        outcome.refused = sum(row.attempts for row in rows)
        outcome.check_ins = _count(store, "FROM messages WHERE kind = 'check_in' AND state = 'handled'")
        outcome.unknown_outcomes = _count(store, "FROM intents WHERE state = 'unknown'")
        outcome.repeated_tools = _count(
            store, "FROM (SELECT 1 FROM intents GROUP BY agent, reply, position HAVING count(*) > 1)"
        )
        with urllib.request.urlopen(f"{self.url}/rehearsal", timeout=5) as answer:
            outcome.repeated_requests = json.load(answer)["repeated"]
        outcome.windows = len(list(self.home.windows.glob("*.ansi")))
        outcome.checks_passed = self._run_checks(project)
        outcome.findings = list(audit(store).findings)
        if incidents.counts(store).get("agent_restarted", 0) < 1:
            outcome.findings.append("an engineer was killed, but no restart was recorded")

    def _run_checks(self, project: Project) -> bool:
        """Whether the spec's checks pass on the merged branch, in a new checkout."""
        repository = open_repository(self.repository)
        path = self.home.path / "work" / "last-check"
        head = head_of(repository, project.branch)
        worktree = checkout_scratch(repository, head, path, locks=self.home.locks)
        try:
            return all(
                subprocess.run(
                    ["sh", "-c", check], cwd=worktree.path, capture_output=True, check=False
                ).returncode
                == 0
                for check in project.checks
            )
        finally:
            remove_worktree(repository, path, locks=self.home.locks)


def _runs_a_command(pid: int) -> bool:
    """Whether the agent's command has reached its `sleep`, so that it is running now and for a while."""
    with suppress(psutil.Error):
        return any(child.name() == "sleep" for child in psutil.Process(pid).children(recursive=True))
    return False


def _count(store: Store, source: str) -> int:
    return int(store.read().exec_driver_sql(f"SELECT count(*) {source}").scalar_one())


def _environment() -> dict[str, str]:
    """Our environment without variables that would change the crew's settings or git."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("NIGHTCREW_", "GIT_")) and key != "OLLAMA_HOST"
    }
