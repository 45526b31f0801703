"""A person and a working crew: asking, pausing, cancelling, watching. One crew, a project for each test."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from store import inbox, incidents
from store.rows import Agent, Message
from store.states import TaskState
from tests.support import command_line
from tests.support.command_line import WholeCrew, git
from tests.support.script_words import Scene, call, manager, reply, scene
from tests.support.waiting import eventually

REACTION_BOUND_S = 2.0  # a person notices no less; the figure itself is printed
LONG = "This is a long thought, told token by token, so that somebody can come in between. " * 60
SLEEP_S = 87
CONFIG = """
[supervisor]
intensity = 2
backoff_first_s = 0.05
backoff_max_s = 0.2
"""
pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("people")]


def _submit(name: str) -> list[dict[str, Any]]:
    """What an engineer does at the end of any task here."""
    return [
        reply("Now I write it.", call("write_file", path=f"{name}.txt", content=f"{name}\n")),
        reply("Done.", call("submit_task", summary=f"{name}.txt is written")),
    ]


def _script() -> list[Scene]:
    return [
        *manager(),
        scene("engineer", "Message from human:\nHow far", reply("Half of it is done."), *_submit("asked")),
        scene("engineer", "Make pause-model.txt", reply(LONG, token_delay_ms=3), *_submit("pause-model")),
        scene("engineer", "Make pause-command.txt", _sleep(), *_submit("pause-command")),
        scene("engineer", "Make cancel-model.txt", reply(LONG, token_delay_ms=30)),
        scene("engineer", "Make cancel-command.txt", _sleep()),
        scene("engineer", "Make asked.txt", reply(LONG, token_delay_ms=30)),
        scene("engineer", "Make crash.txt", reply(LONG, token_delay_ms=30), agent="engineer-1.crash"),
        scene("engineer", "Make crash.txt", *_submit("crash")),
        scene("engineer", "Make late.txt", reply(LONG, token_delay_ms=30)),
        scene("orchestrator", "Are you there", reply("Yes, I am the orchestrator.")),
        scene("orchestrator", "typed by hand", reply("Read what was typed.")),
        scene("orchestrator", "look at the moon", reply("The moon is up.")),
        scene("orchestrator", "Check-in", reply("All is well.")),
    ]


def _sleep() -> dict[str, Any]:
    return reply("This takes a while.", call("shell", command=f"sleep {SLEEP_S}", timeout_s=90))


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCrew]:
    made = command_line.begin(tmp_path_factory.mktemp("people"), _script(), config=CONFIG)
    try:
        made.ok("up")
        yield made
    finally:
        made.end()


def _start(crew: WholeCrew, project: str, *words: str) -> Path:
    """A project with the one deliverable `<project>.txt`; returns its repository."""
    repository = command_line.make_repository(crew.folder / f"{project}-repository", {"README.md": "x\n"})
    words = words or ("--engineers", "1")
    crew.deploy(
        project, repository, [f"Make {project}.txt with its name in it"], ["test -s README.md"], *words
    )
    return repository


def _reaction_s(crew: WholeCrew, agent: str, activity: str, kind: str) -> float:
    """From the row of the newest message of `kind` to the row that says that it was obeyed."""
    row = crew.until_doing(agent, activity)
    sent = inbox.listed(crew.store, recipient=agent, most=1)[0]
    assert sent.kind == kind
    assert row.activity_since is not None
    took_s = row.activity_since - sent.created_at
    print(f"{kind} -> {activity}: {took_s * 1000:.0f} ms")
    return took_s


def _sleepers(crew: WholeCrew) -> list[int]:
    """Processes of the agents' long command, found by their working directory in the crew's home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline() == ["sleep", str(SLEEP_S)] and str(crew.home.path) in _folder(process):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def _folder(process: psutil.Process) -> str:
    """Its working directory; in a sandbox's own mount namespace the link still shows the path."""
    return str(Path(f"/proc/{process.pid}/cwd").readlink())


def test_send_wait_prints_the_answer_of_an_idle_agent(crew: WholeCrew) -> None:
    done = crew.ok("send", "orchestrator", "Are you there?", "--wait", "--timeout", "30")
    assert done.out.strip() == "Yes, I am the orchestrator."


def test_send_wait_gets_an_answer_from_an_agent_in_the_middle_of_a_turn_whose_work_goes_on(
    crew: WholeCrew,
) -> None:
    _start(crew, "asked")
    crew.until_doing("engineer-1.asked", "model")
    words = ("send", "engineer-1.asked", "How far are you?", "--wait", "--priority", "urgent", "--json")
    answer = crew.ok(*words).json()
    assert answer["answer"] == "Half of it is done."
    crew.until_finished("asked")
    assert [row.state for row in crew.tasks("asked")] == [TaskState.MERGED]


def test_pause_interrupts_a_model_call_and_resume_finishes_the_work(crew: WholeCrew) -> None:
    _start(crew, "pause-model")
    agent = "engineer-1.pause-model"
    crew.until_doing(agent, "model")
    crew.ok("pause", agent)
    assert _reaction_s(crew, agent, "paused", "pause") < REACTION_BOUND_S
    assert crew.ok("status", "--json").json()
    crew.ok("resume", agent)
    assert _reaction_s(crew, agent, "model", "resume") < REACTION_BOUND_S
    crew.until_finished("pause-model")
    assert [row.state for row in crew.tasks("pause-model")] == [TaskState.MERGED]


def test_pause_interrupts_a_command_ends_its_processes_and_resume_finishes_the_work(crew: WholeCrew) -> None:
    _start(crew, "pause-command")
    agent = "engineer-1.pause-command"
    crew.until_doing(agent, "tool")
    crew.ok("pause", agent)
    assert _reaction_s(crew, agent, "paused", "pause") < REACTION_BOUND_S
    assert _sleepers(crew) == []
    crew.ok("resume", agent)
    crew.until_finished("pause-command")
    assert [row.state for row in crew.tasks("pause-command")] == [TaskState.MERGED]


@pytest.mark.parametrize(("project", "activity"), [("cancel-model", "model"), ("cancel-command", "tool")])
def test_cancel_drops_the_turn_at_once_and_parks_its_task(
    crew: WholeCrew, project: str, activity: str
) -> None:
    _start(crew, project)
    agent = f"engineer-1.{project}"
    crew.until_doing(agent, activity)
    crew.ok("cancel", agent, "--reason", "changed my mind")
    eventually(lambda: crew.tasks(project)[0].state == TaskState.PARKED, "the task is parked")
    sent = next(row for row in inbox.listed(crew.store, recipient=agent) if row.kind == "cancel_turn")
    took_s = float(crew.tasks(project)[0].updated_at) - float(sent.created_at)
    print(f"cancel in {activity}: {took_s * 1000:.0f} ms")
    assert took_s < REACTION_BOUND_S
    assert _sleepers(crew) == []
    told = [row for row in crew.ok("inbox", "--json").json() if row["kind"] == "task_parked"]
    assert "changed my mind" in told[-1]["body"]["reason"]
    crew.until_finished(project)


def test_pause_and_cancel_of_a_whole_project_reach_its_team(crew: WholeCrew) -> None:
    _start(crew, "late")
    crew.until_doing("engineer-1.late", "model")
    crew.ok("pause", "late")
    crew.until_doing("engineer-1.late", "paused")
    assert crew.project("late").state == "paused"
    crew.ok("resume", "late")
    crew.until_doing("engineer-1.late", "model")
    crew.ok("cancel", "late")
    eventually(
        lambda: crew.agent("engineer-1.late").state == "stopped", "the engineer has gone home", within_s=20
    )
    assert crew.project("late").state == "cancelled"


def test_a_scheduled_check_in_fires_and_a_cancelled_one_does_not(crew: WholeCrew) -> None:
    crew.ok("schedule", "0.01", "look at the moon", "--agent", "orchestrator")
    never = crew.ok("schedule", "60", "never said", "--agent", "orchestrator", "--json").json()
    listed = crew.ok("schedule", "list", "--json").json()
    assert never["id"] in [row["id"] for row in listed]
    crew.ok("schedule", "cancel", str(never["id"]))
    assert never["id"] not in [row["id"] for row in crew.ok("schedule", "list", "--json").json()]

    def handled() -> list[Message]:
        rows = inbox.listed(crew.store, recipient="orchestrator")
        return [r for r in rows if r.kind == "check_in" and r.state == "handled"]

    rows = eventually(handled, "the check-in is handled")
    assert "look at the moon" in rows[0].body["note"]


def test_a_line_typed_at_the_prompt_is_delivered(crew: WholeCrew) -> None:
    crew.ok("prompt", "orchestrator", said="typed by hand\n")
    eventually(
        lambda: "Read what was typed." in crew.ok("history", "orchestrator").out, "the agent has answered it"
    )


def _window(crew: WholeCrew, agent: str) -> str:
    """The id of an agent's window, empty if it has none."""
    rows = crew.tmux("list-windows", "-a", "-F", "#{@agent} #{window_id}").splitlines()
    return next((row.partition(" ")[2] for row in rows if row.startswith(f"{agent} ")), "")


def test_a_window_shows_what_its_agent_says_and_comes_back_when_it_is_killed(crew: WholeCrew) -> None:
    crew.ok("send", "orchestrator", "Are you there?", "--wait", "--timeout", "30")
    window = eventually(lambda: _window(crew, "orchestrator"), "the orchestrator's window")

    def shown(window: str) -> bool:
        return "Yes, I am the orchestrator." in crew.tmux("capture-pane", "-p", "-S", "-", "-t", window)

    eventually(lambda: shown(window), "the answer is in the window")
    crew.tmux("kill-window", "-t", window)
    eventually(lambda: _window(crew, "orchestrator") not in ("", window), "another window has come")
    eventually(lambda: shown(_window(crew, "orchestrator")), "the answer is there again")


def test_attach_enters_the_window_of_an_agent(crew: WholeCrew) -> None:
    crew.ok("send", "orchestrator", "Are you there?", "--wait", "--timeout", "30")
    eventually(lambda: _window(crew, "orchestrator"), "the orchestrator's window")
    pid, terminal = pty.fork()
    if pid == 0:
        command = crew.command("attach", "orchestrator")
        os.execve(command[0], command, command_line.environment(crew.folder, TERM="xterm"))
    seen = b""
    try:
        deadline = time.monotonic() + 15
        while b"I am the orchestrator." not in seen and time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 65536)
    except OSError:
        pass  # the terminal is closed: what was seen decides
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    assert b"I am the orchestrator." in seen, seen[-2000:]


def test_an_agent_that_crashes_past_the_limit_is_shown_in_the_inbox_and_another_does_its_task(
    crew: WholeCrew,
) -> None:
    _start(crew, "crash", "--engineers", "2")
    agent = "engineer-1.crash"
    for _ in range(3):
        row = crew.until_doing(agent, "model")
        assert row.pid is not None
        os.kill(row.pid, signal.SIGKILL)
        eventually(partial(_is_over, crew, row), "the crash was noticed")
    assert crew.agent(agent).state == "quarantined"
    told = [row for row in crew.ok("inbox", "--json").json() if row["kind"] == "agent_quarantined"]
    assert told[-1]["body"]["agent"] == agent
    assert "3 crashes in" in told[-1]["body"]["reason"]
    assert "agent quarantined" in crew.ok("inbox").out
    crew.until_finished("crash")
    (task,) = crew.tasks("crash")
    assert (task.state, task.assignee) == (TaskState.MERGED, "engineer-2.crash")
    assert incidents.counts(crew.store)["agent_quarantined"] == 1
    assert (
        git(crew.folder / "crash-repository", "show", f"{crew.project('crash').branch}:crash.txt") == "crash"
    )


def _is_over(crew: WholeCrew, row: Agent) -> bool:
    """Whether the incarnation of `row` has been replaced, or its agent put into quarantine."""
    now = crew.agent(row.name)
    return bool(now.generation > row.generation or now.state == "quarantined")
