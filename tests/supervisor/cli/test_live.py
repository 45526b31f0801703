"""The whole line with a scripted model: supervisor, agents, sandbox, gate and git are real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil

from actors.rehearsal.server import RehearsalServer
from supervisor.health import status
from tests.actors.git.user_repository import UserRepository
from tests.supervisor.cli.conftest import Cli
from tests.support.waiting import eventually


def test_run_wait_ends_with_every_deliverable_merged_and_down_leaves_nothing(
    live: Cli, spec: Path, repository: UserRepository
) -> None:
    before = repository.belongings()
    done = live("run", str(spec), "--repo", str(repository.path), "--wait", "--json")
    assert done.code == 0, done.err
    found = done.json()
    assert (found["project"], found["branch"]) == ("shop", "nightcrew/shop/integration")
    assert [task["title"] for task in found["merged"]] == ["Write total"]
    assert (found["parked"], found["open"]) == ([], [])
    assert repository.show(found["branch"], "shop.py") == "def total(prices):\n    return sum(prices)"
    assert repository.belongings() == before
    (task,) = live("report", "--json").json()["projects"][0]["tasks"]
    assert task["verified"]
    assert task["gate_runs"][-1]["checks"][0]["outcome"] == "passed"
    pids = [row["pid"] for row in live("status", "--json").json()["agents"] if row["pid"]]
    assert pids
    stopped = live("down", "--json").json()
    assert stopped["stopped"]
    assert not [pid for pid in [*pids, stopped["pid"]] if _lives(pid)]
    assert not (live.home.run / "tmux.sock").exists()


def test_a_running_crew_answers_refuses_a_second_supervisor_and_replaces_an_agent(live: Cli) -> None:
    assert live("up").code == 0
    second = live("up", "--json")
    assert second.code == 75
    assert "already running" in second.error["message"]
    assert live("up", "--foreground").code == 75
    assert live("send", "orchestrator", "Who are you?", "--wait").out == "The orchestrator.\n"
    told = live("send", "orchestrator", "Who are you?", "--wait", "--json").json()
    assert told["answer"] == "The orchestrator."
    before = _pid(live, "orchestrator")
    assert live("restart", "orchestrator").code == 0
    eventually(lambda: _pid(live, "orchestrator") not in (None, before), "a new orchestrator", within_s=20)
    assert live("stop", "orchestrator").code == 0
    eventually(lambda: _pid(live, "orchestrator") is None, "no orchestrator", within_s=20)


def test_an_answer_that_does_not_come_in_time_is_an_error_and_cancel_drops_the_turn(live: Cli) -> None:
    assert live("up").code == 0
    done = live("send", "orchestrator", "Take your time", "--wait", "--timeout", "0.5", "--json")
    assert done.code == 1
    assert "within 0.5 s" in done.error["message"]
    eventually(lambda: _with_a_slot(live) == ["orchestrator"], "the turn has begun", within_s=20)
    assert live("cancel", "orchestrator").code == 0
    assert live("send", "orchestrator", "Who are you?", "--wait", "--timeout", "30").code == 0


def test_send_wait_reports_a_supervisor_that_dies_and_how_to_resume(
    live: Cli, spec: Path, repository: UserRepository
) -> None:
    spec.write_text(spec.read_text().replace("adds up prices", "adds up prices. Take all night"))
    waiting = _start_and_wait_for_the_project(live, spec, repository)
    holder = status.holder(live.home)
    assert holder is not None
    os.kill(holder.pid, signal.SIGKILL)
    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 76, said
    assert "nightcrew up" in said
    assert live("up").code == 0


def test_status_shows_who_has_a_model_slot_while_the_model_answers(live: Cli, model: RehearsalServer) -> None:
    assert live("up").code == 0
    assert live("send", "orchestrator", "Take your time").code == 0
    eventually(lambda: _with_a_slot(live) == ["orchestrator"], "the orchestrator has a slot", within_s=20)
    (host,) = live("status", "--json").json()["model"]["hosts"]
    assert (host["url"], host["state"], host["breaker"]["state"]) == (model.url, "up", "closed")


def test_status_reports_a_stopped_supervisor_with_the_fix_and_down_ends_it(live: Cli) -> None:
    assert live("up").code == 0
    holder = status.holder(live.home)
    assert holder is not None
    os.kill(holder.pid, signal.SIGSTOP)
    eventually(lambda: status.process_state(holder.pid) == "T", "it is stopped", within_s=5)
    stuck = live("status", "--json").json()["supervisor"]["stuck"]
    assert "is stopped" in stuck["reason"]
    assert stuck["fix"] == f"kill -CONT {holder.pid}"
    assert f"-> kill -CONT {holder.pid}" in live("status").out
    assert _told_of_supervisor(live) == ("missing", f"kill -CONT {holder.pid}")
    os.kill(holder.pid, signal.SIGCONT)
    eventually(lambda: status.process_state(holder.pid) != "T", "it goes on", within_s=5)
    assert live("status", "--json").json()["supervisor"]["stuck"] is None
    assert _told_of_supervisor(live) == ("ok", None)
    os.kill(holder.pid, signal.SIGSTOP)
    assert live("down", "--json").json() == {"stopped": True, "pid": holder.pid}
    assert not _lives(holder.pid)


def _told_of_supervisor(cli: Cli) -> tuple[str, str | None]:
    """What `doctor` says of it: state and fix."""
    findings = cli("doctor", "--json").json()["findings"]
    return next((row["state"], row["fix"]) for row in findings if row["name"] == "supervisor")


def test_ctrl_c_ends_the_watching_and_not_the_work(live: Cli, spec: Path, repository: UserRepository) -> None:
    # The manager thinks until an urgent message reaches it, so that the project cannot end before the Ctrl-C.
    spec.write_text(spec.read_text().replace("adds up prices", "adds up prices. Take all night"))
    waiting = _start_and_wait_for_the_project(live, spec, repository)
    eventually(lambda: "pm.shop" in _with_a_slot(live), "the manager asks its model", within_s=30)
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert "the crew goes on" in said
    # Watched again before the manager goes on: a project that has ended would be started anew.
    again = live.start("run", str(spec), "--repo", str(repository.path), "--wait", "--json")
    assert again.stderr is not None
    assert again.stderr.readline().startswith("project shop is already being worked on")
    assert live("send", "pm", "You manage the project: plan it now.", "--priority", "urgent").code == 0
    out, err = again.communicate(timeout=90)
    assert again.returncode == 0, err
    assert json.loads(out)["project"] == "shop"


def _lives(pid: int) -> bool:
    """A process that its parent (here: whoever adopts orphans) has not buried yet has ended all the same."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _with_a_slot(cli: Cli) -> list[str]:
    """Who has a slot of the only model host."""
    (host,) = cli("status", "--json").json()["model"]["hosts"]
    found: list[str] = host["slots"]["in_use_by"]
    return found


def _pid(cli: Cli, name: str) -> int | None:
    agents = cli("status", "--json").json()["agents"]
    pid: int | None = next(row["pid"] for row in agents if row["name"] == name)
    return pid


def _start_and_wait_for_the_project(
    cli: Cli, spec: Path, repository: UserRepository
) -> subprocess.Popen[str]:
    waiting = cli.start("run", str(spec), "--repo", str(repository.path), "--wait")
    assert waiting.stdout is not None
    while not waiting.stdout.readline().startswith("project shop has started"):
        assert waiting.poll() is None, waiting.communicate()
    return waiting
