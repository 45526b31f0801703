"""One night on which everything is killed once, in the middle of what it does: the work ends merged."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from store import incidents
from store.rows import Agent
from store.states import TaskState
from supervisor.health.status import holder
from supervisor.trials.audit import audit
from tests.support import command_line
from tests.support.command_line import WholeCrew, git
from tests.support.script_words import Scene, call, manager, reply, scene
from tests.support.waiting import eventually

PROJECT = "letters"
LETTERS = ("alpha", "beta", "gamma", "delta")
CHECK = "sleep 1; python3 -m unittest -v test_letters"
PATIENCE_S = 40.0
LONG = "I think about this for a while, so that there is a middle in which I can be killed. " * 3
CONFIG = """
[supervisor]
backoff_first_s = 0.1
backoff_max_s = 1.0
"""
pytestmark = pytest.mark.timeout(240)

FIRST_TEST = """\
import unittest


class LettersTest(unittest.TestCase):
    def test_the_project_is_there(self):
        self.assertTrue(True)
"""


def _title(letter: str) -> str:
    return f"{letter}() in {letter}.py returns its own name"


def _engineer(letter: str) -> Scene:
    code = f'def {letter}():\n    return "{letter}"\n'
    command = f"sleep 1; python3 -c 'import {letter}; assert {letter}.{letter}() == \"{letter}\"'"
    return scene(
        "engineer",
        f": {_title(letter)}",
        reply(LONG),
        reply("Now I write it.", call("write_file", path=f"{letter}.py", content=code)),
        reply("I try it.", call("shell", command=command)),
        reply("It works.", call("submit_task", summary=f"{letter} returns its name; tried it.")),
    )


def _script() -> list[Scene]:
    verdict = call("report_verdict", task="{task}", passed=True, findings="Imported it; it does its job.")
    tester = {
        "role": "qa",
        "when_regex": r"Test task (?P<task>\d+)",
        "reply": [
            reply("I try it.", call("shell", command="sleep 1; ls")),
            reply("Good.", verdict),
        ],
    }
    return [
        *manager(),
        *(_engineer(letter) for letter in LETTERS),
        tester,
        scene("orchestrator", "How is it going", reply(LONG + "All is well.")),
    ]


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[WholeCrew]:
    made = command_line.begin(tmp_path, _script(), config=CONFIG, token_delay_ms=15)
    yield made
    made.end()


class Killer:
    """Kills by pid what the store or a process list names, and sees that it lives again."""

    def __init__(self, crew: WholeCrew) -> None:
        self.crew = crew
        self.recovered_ms: dict[str, int] = {}

    def kill(self, who: str, pid: int, is_back: Callable[[], Any]) -> None:
        assert pid > 1
        os.kill(pid, signal.SIGKILL)
        killed_at = time.monotonic()
        eventually(is_back, f"{who} is back", within_s=PATIENCE_S)
        self.recovered_ms[who] = round((time.monotonic() - killed_at) * 1000)

    def kill_actor(self, row: Agent, doing: str) -> None:
        """The process of an agent's row; back means a later incarnation that runs."""

        def is_back() -> bool:
            now = self.crew.agent(row.name)
            return now.generation > row.generation and now.state in ("running", "stopped")

        assert row.pid is not None
        self.kill(f"{row.name} ({doing})", row.pid, is_back)

    def until(self, kind: str, activity: str) -> Agent:
        """Any agent of a role (or kind) in the middle of `activity`."""

        def look() -> Agent | None:
            rows = (self.crew.agent(name) for name in self._names(kind))
            found = (r for r in rows if r.state == "running" and r.pid and r.activity == activity)
            return next(found, None)

        row = eventually(look, f"some {kind} at {activity}", within_s=PATIENCE_S)
        assert row is not None
        return row

    def _names(self, kind: str) -> list[str]:
        from store import crew

        return [r.name for r in crew.all_agents(self.crew.store) if kind in (r.role, r.kind)]

    def kill_supervisor(self) -> None:
        found = holder(self.crew.home)
        assert found is not None

        def is_back() -> bool:
            new = holder(self.crew.home)
            return new is not None and new.ready and new.pid != found.pid

        os.kill(found.pid, signal.SIGKILL)
        killed_at = time.monotonic()
        self.crew.ok("up")
        eventually(is_back, "a new supervisor", within_s=PATIENCE_S)
        self.recovered_ms["supervisor"] = round((time.monotonic() - killed_at) * 1000)

    def kill_zygote(self) -> None:
        found = holder(self.crew.home)
        assert found is not None
        old = _zygote_of(found.pid)

        def is_back() -> bool:
            return _zygote_of(found.pid) not in (0, old)

        self.kill("zygote", old, is_back)

    def kill_tmux_server(self) -> None:
        def pid() -> str:
            return self.crew.tmux("display-message", "-p", "#{pid}").strip()

        old = eventually(pid, "a tmux server", within_s=PATIENCE_S)
        before = eventually(lambda: self.crew.tmux("list-panes", "-a"), "windows", within_s=PATIENCE_S)

        def is_back() -> bool:
            same = len(self.crew.tmux("list-panes", "-a").splitlines()) >= len(before.splitlines())
            return pid() not in ("", old) and same

        self.kill("tmux server", int(old), is_back)


def _zygote_of(supervisor: int) -> int:
    """The zygote among a supervisor's children, 0 if there is none now."""
    for child in psutil.Process(supervisor).children():
        try:
            if "nightcrew: zygote" in " ".join(child.cmdline()):
                return child.pid
        except psutil.Error:
            continue
    return 0


def _check_titles(crew: WholeCrew) -> None:
    """`ps` tells who is who."""
    found = holder(crew.home)
    assert found is not None

    def titles() -> set[str]:
        told = set()
        for process in psutil.Process(found.pid).children():
            try:
                told.add(" ".join(process.cmdline()).strip())
            except psutil.Error:
                continue
        return told

    actors = ("zygote", "timer", "tmux", "orchestrator", f"pm.{PROJECT}", f"gate.{PROJECT}", f"qa.{PROJECT}")
    wanted = {f"nightcrew: {actor}" for actor in (*actors, f"engineer-1.{PROJECT}", f"engineer-2.{PROJECT}")}
    eventually(lambda: wanted <= titles(), f"ps shows {wanted}", within_s=PATIENCE_S)
    assert " ".join(psutil.Process(found.pid).cmdline()).strip() == f"nightcrew: supervisor {crew.home.path}"


def _outage(crew: WholeCrew, killer: Killer) -> None:
    """The model server dies in the middle of a reply and comes back: agents wait, nobody crashes."""
    killer.until("engineer", "model")
    restarts = incidents.counts(crew.store).get("agent_restarted", 0)
    crew.server.stop()
    killer.until("engineer", "waiting")
    assert incidents.counts(crew.store)["model_unavailable"] >= 1
    crew.server.start()
    killer.until("engineer", "model")
    assert incidents.counts(crew.store).get("agent_restarted", 0) == restarts


def test_the_work_ends_merged_though_every_kind_of_process_is_killed_in_the_middle_of_its_work(
    crew: WholeCrew, tmp_path: Path
) -> None:
    repository = command_line.make_repository(tmp_path / "letters", {"test_letters.py": FIRST_TEST})
    main = git(repository, "rev-parse", "main")
    titles = [_title(letter) for letter in LETTERS]
    crew.deploy(PROJECT, repository, titles, [CHECK], "--engineers", "2", "--qa")
    killer = Killer(crew)

    killer.kill_actor(killer.until("project_manager", "model"), "planning")
    killer.kill_actor(killer.until("engineer", "model"), "in a model call")
    _check_titles(crew)
    killer.kill_zygote()
    killer.kill_actor(killer.until("engineer", "tool"), "in a command")
    killer.kill_actor(killer.until("gate", "tool"), "in the checks")
    killer.kill_actor(killer.until("qa", "tool"), "in a command")
    for name in ("timer", "tmux"):
        killer.kill_actor(crew.agent(name), "waiting")
    killer.kill_tmux_server()
    asked = crew.launch("send", "orchestrator", "How is it going?", "--wait", "--timeout", "60")
    killer.kill_actor(crew.until_doing("orchestrator", "model"), "in a model call")
    killer.kill_supervisor()
    _outage(crew, killer)

    crew.until_finished(PROJECT, within_s=90)
    out, err = asked.communicate(timeout=60)
    print(f"recovered after, in ms: {killer.recovered_ms}; asked: {asked.returncode} {out!r} {err!r}")
    rows = crew.tasks(PROJECT)
    assert [row.state for row in rows] == [TaskState.MERGED] * len(LETTERS)
    crew.ok("down")
    assert audit(crew.store).findings == ()
    branch = crew.project(PROJECT).branch
    for letter in LETTERS:
        assert letter in git(repository, "show", f"{branch}:{letter}.py")
    assert (git(repository, "rev-parse", "main"), git(repository, "status", "--porcelain")) == (main, "")
