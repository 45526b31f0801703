"""`nightcrew rehearse`: a whole night in about a minute, with a scripted model and everything else real.

A little repository with failing deliverables, the real command line, supervisor, agents, sandbox, gate
and tmux; a check-in, a submission that is refused and repaired, an engineer killed in the middle of a
command and the supervisor killed while work is going on. At the end the checks are run once more by
code, and an audit looks for anything lost, done twice or stuck.
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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from actors.git.refs import head_of
from actors.git.repository import open_repository
from actors.git.worktree import checkout_scratch, remove_worktree
from actors.home import Home
from store import crew, incidents, journal, tasks
from store.engine import Store
from store.errors import NightcrewError
from store.rows import Agent, Project, Task
from store.states import Activity, IntentState, Role, TaskState
from supervisor.errors import NotReady
from supervisor.trials.audit import audit

T = TypeVar("T")
DATA = Path(__file__).parent / "rehearsal"
PATIENCE_S = 150.0
LOOK_S = 0.01
PROJECT = "rehearsal"
CONFIG = """\
[model]
hosts = ["{url}"]

[work]
engineers = 2

[supervisor]
backoff_first_s = 0.2
"""


@dataclass(frozen=True, slots=True)
class Death:
    """One SIGKILL: who, in the middle of what, and how long until it had made progress again."""

    who: str
    doing: str
    recovered_ms: int


@dataclass(slots=True)
class Outcome:
    """What the rehearsal found; `ok` only if nothing was lost, doubled, stuck or left unmerged."""

    merged: int = 0
    tasks: int = 0
    refused: int = 0
    check_ins: int = 0
    deaths: list[Death] = field(default_factory=list)
    repeated_requests: int = 0
    repeated_tools: int = 0
    unknown_outcomes: int = 0
    checks_passed: bool = False
    windows: int = 0
    findings: list[str] = field(default_factory=list)
    branch: str = ""
    repository: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return (
            self.merged == self.tasks == 3
            and self.checks_passed
            and self.refused >= 1
            and self.check_ins >= 1
            and len(self.deaths) == 2
            and self.repeated_tools == 0
            and not self.findings
        )

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.ok, "scripted_model": True, **asdict(self)}


Say = Callable[[str], None]


def rehearse(home: Path, *, keep: bool = False, say: Say = print) -> Outcome:
    """Play the night in a folder of its own inside `home`; removed at the end unless `keep`."""
    started = time.monotonic()
    stage = home / "rehearsal" / f"{int(time.time())}-{os.getpid()}"
    stage.mkdir(parents=True, mode=0o700)
    empty_before = [folder for folder in (stage.parent, home) if len(list(folder.iterdir())) == 1]
    say("Rehearsal: the model is scripted, everything else is real.")
    try:
        with _scripted_model() as url:
            outcome = _Night(stage, url, say).play()
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
    """The scripted server as a process of its own; it ends with its standard input, and so with us."""
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


class _Night:
    """One rehearsal's stage: its folder, the crew's home in it, the repository, and what happened."""

    def __init__(self, stage: Path, url: str, say: Say) -> None:
        self.home = Home(stage / "home")
        self.repository = stage / "textkit"
        self.spec = stage / "spec.md"
        self.config = stage / "nightcrew.toml"
        self.url = url
        self.say = say
        self.outcome = Outcome(repository=str(self.repository))

    def play(self) -> Outcome:
        """From the empty folder to the audit; the crew is ended whatever happens."""
        self._set_the_stage()
        try:
            self._nightcrew("run", str(self.spec), "--repo", str(self.repository), "--engineers", "2", "--qa")
            self.say("The crew works: two engineers, QA, a manager, a gate, an orchestrator, timer and tmux.")
            store = Store(self.home.store)
            try:
                self._disturb(store)
                self._wait(store, "the project's end", lambda: self._project(store).state == "finished")
                self._sum_up(store)
            finally:
                store.close()
        finally:
            self._nightcrew("down", check=False)
        return self.outcome

    def _set_the_stage(self) -> None:
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
        """The real command, as a user would type it."""
        command = [sys.executable, "-m", "supervisor.cli", "--home", str(self.home.path)]
        command += ["--config", str(self.config), *words]
        done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
        if check and done.returncode != 0:
            raise NightcrewError(
                f"`nightcrew {' '.join(words)}` ended with {done.returncode}: "
                f"{(done.stderr or done.stdout).strip()}"
            )
        return done.stdout

    # -- what goes wrong on purpose ------------------------------------------------------------

    def _disturb(self, store: Store) -> None:
        self._nightcrew("schedule", "0.02", "Is everyone busy?", "--agent", f"pm.{PROJECT}")
        self._kill_an_engineer(store)
        self._wait(store, "a refused submission", lambda: any(t.attempts for t in self._tasks(store)))
        self.say("A submission was refused by the checks; its engineer repairs it.")
        self._kill_the_supervisor(store)

    def _kill_an_engineer(self, store: Store) -> None:
        """In the middle of a command: the worst moment, for a tool's outcome is then in doubt."""

        def victim() -> Agent | None:
            running = {
                row.agent for row in journal.listed(store, IntentState.INTENDED) if row.tool == "shell"
            }
            team = (row for row in self._agents(store) if row.role is Role.ENGINEER)
            return next((r for r in team if r.pid and r.name in running and _runs_a_command(r.pid)), None)

        row = self._wait(store, "an engineer in the middle of a command", victim)
        assert row.pid is not None, "`victim` has seen its process"
        self.say(f"kill -9 {row.pid}: {row.name}, in the middle of a command.")
        self._recovery(store, row.name, "a command", row, row.pid)

    def _kill_the_supervisor(self, store: Store) -> None:
        """While engineers work; then `up`, as a service manager would after a reboot."""
        holder = json.loads(self.home.supervisor_lock.read_text())
        busy = self._wait(
            store,
            "somebody at work",
            lambda: next((r for r in self._agents(store) if r.activity != Activity.IDLE), None),
        )
        self.say(f"kill -9 {holder['pid']}: the supervisor, while {busy.name} works.")
        self._recovery(store, "supervisor", f"{busy.name} at work", busy, holder["pid"])

    def _recovery(self, store: Store, who: str, doing: str, agent: Agent, pid: int) -> None:
        """Kill a process and time how long it takes until `agent` has made progress again."""
        killed_at = time.monotonic()
        # One that has just ended by itself has to be recovered all the same.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if who == "supervisor":
            self._nightcrew("up")

        def progressed() -> bool:
            now = crew.agent(store, agent.name)
            again = now.generation > agent.generation
            return again and (now.last_progress_at or 0) > (agent.last_progress_at or 0)

        self._wait(store, f"{agent.name} to go on", progressed)
        recovered_ms = round((time.monotonic() - killed_at) * 1000)
        self.outcome.deaths.append(Death(who, doing, recovered_ms))
        self.say(f"  back at work after {recovered_ms} ms.")

    # -- looking -------------------------------------------------------------------------------

    def _wait(self, store: Store, what: str, look: Callable[[], T | None]) -> T:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = look()
            if found:
                return found
            if time.monotonic() > deadline:
                states = ", ".join(f"task {t.id} {t.state}" for t in self._tasks(store))
                raise NightcrewError(
                    f"the rehearsal waited {PATIENCE_S:.0f} s for {what} ({states or 'no task was planned'}); "
                    f"run it with --keep and look into {self.home.logs}"
                )
            time.sleep(LOOK_S)

    def _project(self, store: Store) -> Project:
        return crew.project(store, PROJECT)

    def _agents(self, store: Store) -> list[Agent]:
        return crew.all_agents(store, project=PROJECT)

    def _tasks(self, store: Store) -> list[Task]:
        return tasks.of_project(store, PROJECT)

    def _sum_up(self, store: Store) -> None:
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
        outcome.checks_passed = self._check_once_more(project)
        outcome.findings = list(audit(store).findings)
        if incidents.counts(store).get("agent_restarted", 0) < 1:
            outcome.findings.append("no restart was recorded though an engineer was killed")

    def _check_once_more(self, project: Project) -> bool:
        """The spec's checks on the merged branch, by code, in a checkout of its own."""
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
    """Whether the agent's command has come as far as its `sleep`: then it is surely in the middle of it."""
    with suppress(psutil.Error):
        return any(child.name() == "sleep" for child in psutil.Process(pid).children(recursive=True))
    return False


def _count(store: Store, source: str) -> int:
    return int(store.read().exec_driver_sql(f"SELECT count(*) {source}").scalar_one())


def _environment() -> dict[str, str]:
    """Ours without what would change the crew or git: the rehearsal is the same everywhere."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("NIGHTCREW_", "GIT_")) and key != "OLLAMA_HOST"
    }


def summary(outcome: Outcome) -> str:
    """What a person reads at the end."""
    lines = [
        "",
        f"{outcome.merged} of {outcome.tasks} tasks merged into {outcome.branch}"
        f" ({outcome.refused} refused and repaired, {outcome.check_ins} check-in fired)",
        f"the checks, run once more by code: {'passed' if outcome.checks_passed else 'FAILED'}",
    ]
    lines += [
        f"killed: {death.who} ({death.doing}), at work again after {death.recovered_ms} ms"
        for death in outcome.deaths
    ]
    lines += [
        f"repeated: {outcome.repeated_requests} model requests that a kill cut off, "
        f"{outcome.repeated_tools} tools run twice, {outcome.unknown_outcomes} told as outcome unknown",
        f"audit: {'nothing lost, nothing done twice, nothing stuck' if not outcome.findings else ''}".rstrip(),
        *(f"  - {finding}" for finding in outcome.findings),
        f"{outcome.seconds} s. {'The rehearsal passed.' if outcome.ok else 'The rehearsal FAILED.'}",
    ]
    return "\n".join(lines)
