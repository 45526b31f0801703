"""Agents killed around a tool call: the stored evidence shows what happened, and nothing blindly runs twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from actors.sandbox.record import RecordFiles, read_status
from actors.tools.base import ToolContext
from actors.tools.confined import draft_name
from actors.tools.edits import EditFile
from actors.tools.files import ReadFile, WriteFile
from actors.tools.shell import Shell
from store import failpoints
from tests.actors.sandbox.conftest import processes_with
from tests.support.waiting import eventually

_AGENT = """
import os, sys
from pathlib import Path
from store import failpoints
failpoints.arm(os.environ, "engineer-1")
from actors.sandbox.choose import choose
from actors.sandbox.policy import SandboxPolicy
from actors.tools.base import ToolContext
from actors.tools.shell import Shell
worktree, spill, command, unsafe = sys.argv[1:5]
mode = "landlock" if unsafe == "landlock" else "auto"
sandbox = choose(SandboxPolicy(mode=mode), unsafe=unsafe == "unsafe")
context = ToolContext(Path(worktree), sandbox, Path(spill), "engineer-1/7")
Shell().run({"command": command}, context)
print("returned", flush=True)
sys.stdin.read()
"""


def _start_agent(
    context: ToolContext, command: str, mode: str = "confined", failpoint: str | None = None
) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", _AGENT, str(context.worktree), str(context.spill_dir), command, mode]
    environment = os.environ | ({} if failpoint is None else {failpoints.VARIABLE: failpoint})
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _kill(agent: subprocess.Popen[bytes]) -> None:
    agent.send_signal(signal.SIGKILL)
    agent.communicate()


def test_kill_between_the_commands_end_and_the_commit_gives_the_real_result(context: ToolContext) -> None:
    arguments = {"command": "echo built; touch made; exit 3"}
    intent = Shell().intend(arguments, context)
    agent = _start_agent(context, arguments["command"])
    assert agent.stdout is not None
    assert agent.stdout.readline() == b"returned\n"
    _kill(agent)
    result = Shell().settle(arguments, intent, context)
    assert result is not None
    assert result.text == "built\n[exit code 3]"


def test_a_command_whose_agent_is_killed_just_before_it_may_run_is_never_run_again(
    context: ToolContext, tmp_path: Path
) -> None:
    # bubblewrap then runs it for a moment: it takes the end of the pipe for the byte that lets the command run.
    arguments = {"command": f"echo {tmp_path.name} >>count"}
    evidence = Shell().intend(arguments, context)
    marker = tmp_path / "killed"
    agent = _start_agent(context, arguments["command"], failpoint=f"*:command_held:1:SIGKILL:{marker}")
    agent.communicate(timeout=60)
    assert marker.exists()
    eventually(lambda: not processes_with(f"echo {tmp_path.name}"), "bubblewrap is gone", within_s=20)
    result = Shell().settle(arguments, evidence, context)
    assert result is not None
    assert result.outcome_unknown


def test_command_that_ends_while_its_agent_is_stopped_leaves_its_exit_code(context: ToolContext) -> None:
    arguments = {"command": "touch up; until [ -e go ]; do sleep 0.01; done; exit 5"}
    intent = Shell().intend(arguments, context)
    agent = _start_agent(context, arguments["command"])
    eventually((context.worktree / "up").exists, "the command runs", within_s=20)
    agent.send_signal(signal.SIGSTOP)
    (context.worktree / "go").touch()
    files = RecordFiles.of(context.spill_dir, context.call_id)
    eventually(
        lambda: "exit-code" in read_status(files), "bubblewrap itself writes the exit code", within_s=20
    )
    _kill(agent)
    result = Shell().settle(arguments, intent, context)
    assert result is not None
    assert "[exit code 5]" in result.text
    assert "may be missing" in result.text


@pytest.mark.parametrize("mode", ["confined", "unsafe"])
def test_kill_while_the_command_runs_reports_outcome_unknown_and_ends_it(
    mode: str, context: ToolContext
) -> None:
    from actors.sandbox.choose import choose
    from actors.sandbox.policy import SandboxPolicy

    context = replace(context, sandbox=choose(SandboxPolicy(), unsafe=mode == "unsafe"))
    arguments = {"command": "echo half; echo $$ > pid; touch up; sleep 4711.5"}
    intent = Shell().intend(arguments, context)
    agent = _start_agent(context, arguments["command"], mode)
    output = RecordFiles.of(context.spill_dir, context.call_id).output
    eventually((context.worktree / "up").exists, "the command runs", within_s=20)
    eventually(lambda: output.read_text() == "half\n", "its output was seen", within_s=20)
    _kill(agent)
    result = Shell().settle(arguments, intent, context)
    assert result is not None
    assert not result.ok
    assert "Outcome unknown" in result.text
    assert result.outcome_unknown
    assert "half" in result.text
    eventually(lambda: not processes_with("sleep 4711.5"), "nothing of it is left", within_s=20)


def test_kill_before_the_command_began_is_safe_to_run(context: ToolContext) -> None:
    intent = Shell().intend({"command": "true"}, context)
    assert Shell().settle({"command": "true"}, intent, context) is None


def test_after_a_power_loss_a_missing_record_proves_nothing(context: ToolContext) -> None:
    intent = {**Shell().intend({"command": "true"}, context), "boot_id": "another boot"}
    result = Shell().settle({"command": "true"}, intent, context)
    assert result is not None
    assert "Outcome unknown" in result.text


def test_torn_record_counts_as_unknown(context: ToolContext) -> None:
    files = RecordFiles.of(context.spill_dir, context.call_id)
    context.spill_dir.mkdir()
    files.status.write_text('{"started": 1.0}\n{"exit-co')
    files.final.write_text('{"exit_code": 0, "kill')
    result = Shell().settle({"command": "true"}, Shell().intend({}, context), context)
    assert result is not None
    assert "Outcome unknown" in result.text


@pytest.mark.parametrize("tool", [EditFile(), WriteFile()])
def test_change_is_settled_by_the_content_of_the_file(
    tool: EditFile | WriteFile, context: ToolContext
) -> None:
    arguments = {"path": "hello.py", "old_text": "hello", "new_text": "bye", "content": "print('bye')\n"}
    target = context.worktree / "hello.py"
    intent = tool.intend(arguments, context)
    draft = target.parent / draft_name(context.call_id)
    draft.write_text("half")
    assert tool.settle(arguments, intent, context) is None, "before it ran: safe to run"
    assert not draft.exists(), "what the crash left is gone"
    assert tool.run(arguments, context).ok
    settled = tool.settle(arguments, intent, context)
    assert settled is not None
    assert settled.ok
    target.write_text("someone else")
    unknown = tool.settle(arguments, intent, context)
    assert unknown is not None
    assert "Outcome unknown" in unknown.text


def test_new_file_in_new_folders_is_settled_too(context: ToolContext) -> None:
    arguments = {"path": "a/b/c.txt", "content": "x"}
    tool = WriteFile()
    intent = tool.intend(arguments, context)
    assert tool.settle(arguments, intent, context) is None
    assert tool.run(arguments, context).ok
    settled = tool.settle(arguments, intent, context)
    assert settled is not None
    assert settled.ok


def test_reading_and_refused_input_are_safe_to_run_again(context: ToolContext) -> None:
    assert ReadFile().settle({"path": "hello.py"}, {}, context) is None
    intent = EditFile().intend({"path": "../x", "old_text": "a", "new_text": "b"}, context)
    assert "refused" in intent
    assert EditFile().settle({}, intent, context) is None


def test_old_records_are_pruned_and_new_ones_kept(context: ToolContext, tmp_path: Path) -> None:
    from actors.sandbox.record import prune

    context.spill_dir.mkdir()
    for number in range(7):
        files = RecordFiles.of(context.spill_dir, f"call-{number}")
        for path in (files.status, files.final, files.output):
            path.write_text("{}")
            os.utime(path, (number, number))
    prune(context.spill_dir, keep=2)
    assert sorted(p.name for p in context.spill_dir.glob("*.out")) == ["call-5.out", "call-6.out"]
    assert len(list(context.spill_dir.iterdir())) == 6
