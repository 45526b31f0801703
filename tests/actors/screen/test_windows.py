"""Windows against a real tmux server."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors.screen.attach import attach_argv, find_target
from actors.screen.errors import NoSuchWindow, TmuxFailed, TmuxMissing
from actors.screen.files import WindowFile
from actors.screen.plan import WindowSpec
from actors.screen.windows import Windows
from store.entries import Entry, MessageBody, ReplyBody
from tests.actors.screen.tmux_screen import VISIBLE_S, Screen
from tests.support.waiting import eventually

AT = datetime(2025, 11, 3, 22, 0, 0, tzinfo=UTC)


def spec(run_dir: Path, agent: str, session: str = "shop", lines: str = "") -> WindowSpec:
    file = run_dir / f"{agent}.ansi"
    file.write_text(lines or f"hello from {agent}\n", encoding="utf-8")
    return WindowSpec(session, agent, agent, file)


def message(text: str, row_id: int = 1) -> Entry:
    return Entry(row_id, "pm", MessageBody("human", "text", text), None, None, AT.timestamp())


def server_pid(screen: Screen, target: str = "=shop:") -> int:
    return int(screen.value(target, "#{pid}"))


def test_windows_show_their_files_and_a_second_reconcile_changes_nothing(
    windows: Windows, screen: Screen, run_dir: Path
) -> None:
    wanted = [
        spec(run_dir, "orchestrator", "orchestrator"),
        spec(run_dir, "pm"),
        spec(run_dir, "Ingenieurin ü"),
    ]
    changes = windows.reconcile(wanted)
    assert changes.created == ("orchestrator", "pm", "Ingenieurin ü")
    assert screen.windows() == ["orchestrator:orchestrator", "shop:pm", "shop:Ingenieurin ü"]
    screen.wait_for("=shop:=Ingenieurin ü", "hello from Ingenieurin ü")
    assert not windows.reconcile(wanted)


def test_rendered_rows_appear_while_they_are_written(windows: Windows, screen: Screen, run_dir: Path) -> None:
    file = WindowFile(run_dir / "pm.ansi", "pm")
    file.rebuild([message("the first row")])
    windows.reconcile([WindowSpec("shop", "pm", "pm", file.path)])
    screen.wait_for("=shop:=pm", "the first row")
    file.append_live(7, 0, "thinking about ", AT)
    screen.wait_for("=shop:=pm", "thinking about")
    file.append_live(7, 15, "it", AT)
    file.commit(Entry(2, "pm", ReplyBody("thinking about it", stream=7), None, None, AT.timestamp()))
    file.append_entry(message("the last row", 3))
    shown = screen.wait_for("=shop:=pm", "the last row")
    assert shown.count("thinking about it") == 1
    file.close()


def test_replaced_file_leaves_only_its_own_lines_in_the_window(
    windows: Windows, screen: Screen, run_dir: Path
) -> None:
    file = WindowFile(run_dir / "pm.ansi", "pm")
    rows = [message(f"row number {number}.", number) for number in range(200)]
    file.rebuild(rows)
    windows.reconcile([WindowSpec("shop", "pm", "pm", file.path)])
    screen.wait_for("=shop:=pm", "row number 199.")
    file.append_live(1, 0, "lost to the kill", AT)
    screen.wait_for("=shop:=pm", "lost to the kill")
    file.rebuild([*rows, message("after the rebuild", 200)])
    shown = screen.wait_for("=shop:=pm", "after the rebuild")
    assert [shown.count(f"row number {number}.") for number in range(200)] == [1] * 200
    assert "lost to the kill" not in shown
    assert "tail:" not in shown
    file.close()


def test_hostile_escapes_reach_the_window_as_harmless_text(
    windows: Windows, screen: Screen, run_dir: Path
) -> None:
    hostile = (
        "a\x1b]0;owned title\x07b\x1b[2Jc\x1bPtmux;\x1b\x1b]52;c;aGk=\x07\x1b\\d"
        "\x1bkowned\x1b\\e\x9b31mf\x08\x08g\u202eh"
    )
    file = WindowFile(run_dir / "pm.ansi", "pm")
    file.rebuild([message("kept above"), message(hostile + "\nlast line", 2)])
    windows.reconcile([WindowSpec("shop", "pm", "pm", file.path)])
    shown = screen.wait_for("=shop:=pm", "last line")
    assert "kept above" in shown
    assert "owned" not in screen.value("=shop:=pm", "#{pane_title} #{window_name}")
    assert "<U+202E>h" in shown
    file.close()


def test_killed_server_is_rebuilt_by_the_next_reconcile(
    windows: Windows, screen: Screen, run_dir: Path
) -> None:
    wanted = [spec(run_dir, "orchestrator", "orchestrator"), spec(run_dir, "pm")]
    windows.reconcile(wanted)
    pid = server_pid(screen)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not screen.windows(), "the server's end", within_s=VISIBLE_S)
    assert windows.reconcile(wanted).created == ("orchestrator", "pm")
    screen.wait_for("=shop:=pm", "hello from pm")
    assert server_pid(screen) != pid
    assert screen.value("=shop:=pm", "#{history_limit}") == "20000"


def test_killed_window_and_killed_session_come_back_alone(
    windows: Windows, screen: Screen, run_dir: Path
) -> None:
    wanted = [spec(run_dir, "pm"), spec(run_dir, "eng-1"), spec(run_dir, "other", "second")]
    windows.reconcile(wanted)
    screen.tmux("kill-window", "-t", "=shop:=pm")
    screen.tmux("kill-session", "-t", "=second")
    assert windows.reconcile(wanted).created == ("pm", "other")
    assert sorted(screen.windows()) == ["second:other", "shop:eng-1", "shop:pm"]


def test_ctrl_c_and_typing_do_not_disturb_a_window(windows: Windows, screen: Screen, run_dir: Path) -> None:
    wanted = [spec(run_dir, "pm")]
    windows.reconcile(wanted)
    screen.wait_for("=shop:=pm", "hello from pm")
    screen.tmux("send-keys", "-t", "=shop:=pm", "rm -rf typed", "Enter", "C-c")
    with wanted[0].file.open("a") as file:
        file.write("still following\n")
    assert "typed" not in screen.wait_for("=shop:=pm", "still following")
    assert not windows.reconcile(wanted)


def test_ended_tail_is_restarted_and_no_line_appears_twice(
    windows: Windows, screen: Screen, run_dir: Path
) -> None:
    wanted = [spec(run_dir, "pm", lines="".join(f"line {number}.\n" for number in range(300)))]
    windows.reconcile(wanted)
    screen.wait_for("=shop:=pm", "line 299.")
    os.kill(int(screen.value("=shop:=pm", "#{pane_pid}")), signal.SIGINT)
    eventually(lambda: screen.value("=shop:=pm", "#{pane_dead}") == "1", "tail's end", within_s=VISIBLE_S)
    assert windows.reconcile(wanted).revived == ("pm",)
    shown = screen.wait_for("=shop:=pm", "line 299.")
    assert [shown.count(f"line {number}.") for number in range(300)] == [1] * 300
    assert not windows.reconcile(wanted)


def test_unwanted_windows_are_closed_and_those_of_people_stay(
    windows: Windows, screen: Screen, run_dir: Path
) -> None:
    pm, eng = spec(run_dir, "pm"), spec(run_dir, "eng-1")
    windows.reconcile([pm, eng])
    screen.tmux("new-window", "-d", "-t", "=shop:", "-n", "my own|shell", "sleep 1000")
    screen.tmux("split-window", "-d", "-t", "=shop:=pm", "sleep 1000")
    assert windows.reconcile([pm]).removed == ("eng-1",)
    assert screen.windows() == ["shop:pm", "shop:my own|shell"]
    assert not windows.reconcile([pm])
    assert windows.reconcile([]).removed == ("pm",)
    assert screen.windows() == ["shop:my own|shell"]


def test_twenty_windows_are_made_in_few_tmux_processes(
    windows: Windows, screen: Screen, run_dir: Path
) -> None:
    wanted = [spec(run_dir, f"agent-{number}", f"project {number % 4}") for number in range(20)]
    started = time.monotonic()
    windows.reconcile(wanted)
    created_s = time.monotonic() - started
    for one in wanted:
        screen.wait_for(f"={one.session}:={one.window}", f"hello from {one.agent}")
    assert created_s < 5  # 20 libtmux windows at 15 ms each would be 0.3 s already; this catches a hang
    assert not windows.reconcile(wanted)


def test_project_names_that_tmux_forbids_are_shown_in_a_form_it_takes(
    windows: Windows, screen: Screen, run_dir: Path
) -> None:
    file = run_dir / "x.ansi"
    file.write_text("hello\n")
    wanted = [WindowSpec("a.b:c #(touch pwned)", "#[fg=red]w.1", "eng-1", file)]
    windows.reconcile(wanted)
    assert not windows.reconcile(wanted)
    assert screen.windows() == ["a_b_c _(touch pwned)".replace("(", "_").replace(")", "_") + ":__fg_red_w_1"]
    assert find_target(run_dir, "a.b:c #(touch pwned):x") is None
    assert not (run_dir / "pwned").exists()


@pytest.mark.parametrize("agent", ["", "it's", "a#{x}", "a|b", "a\nb", "a;b"])
def test_agent_name_that_could_break_out_of_the_prompt_command_is_refused(agent: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be used in tmux"):
        WindowSpec("shop", "w", agent, tmp_path / "f")


class Client:
    """A real tmux client on a pseudo-terminal, entered as the command line does."""

    def __init__(self, run_dir: Path, agent: str | None) -> None:
        self._received = ""
        self._pid, self._terminal = attached(run_dir, agent)
        os.set_blocking(self._terminal, False)

    def type(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def received(self) -> str:
        """All that the terminal was sent so far."""
        with contextlib.suppress(OSError):  # nothing new
            self._received += os.read(self._terminal, 65_536).decode("utf-8", "replace")
        return self._received

    def wait_for(self, text: str) -> None:
        eventually(lambda: text in self.received(), f"{text!r} on the terminal", within_s=VISIBLE_S)

    def leave(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._terminal)


def attached(run_dir: Path, agent: str | None) -> tuple[int, int]:
    """The client's pid and its terminal's descriptor."""
    attach = attach_argv(run_dir, agent, {**os.environ, "TERM": "xterm-256color", "TMUX": "/outer,1,0"})
    assert "TMUX" not in attach.environment
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(attach.cwd)
        os.execvpe(attach.argv[0], attach.argv, attach.environment)
    return pid, terminal


@pytest.mark.parametrize("keys", [b"\x1bOQ", b"\x02m"], ids=["F2", "prefix m"])
def test_key_opens_a_prompt_that_gets_the_agent_and_the_text_intact(
    windows: Windows, screen: Screen, run_dir: Path, tmp_path: Path, keys: bytes
) -> None:
    windows.reconcile([spec(run_dir, "pm"), spec(run_dir, "Prüferin 2")])
    client = Client(run_dir, "Prüferin 2")
    try:
        client.wait_for("hello from Prüferin 2")
        client.type(keys)
        client.wait_for("Message to Prüferin 2")
        text = 'it\'s "quoted" $(touch pwned) `x` ; ünïcode 漢 \\n %1 #{pane_id}'
        client.type(text.encode() + b"\r")
        recorded = tmp_path / "recorded"
        eventually(lambda: client.received() and recorded.exists(), "the prompt's end", within_s=VISIBLE_S)
        argv, line, _ = json.loads(recorded.read_text(encoding="utf-8"))
        assert argv == ["a b", "it's", '"$HOME"', "#{pane_id}", "ä;", "~", "Prüferin 2"]
        assert line == text + "\n"
        assert not list(tmp_path.rglob("pwned"))
    finally:
        client.leave()


def test_attach_selects_the_agents_window_and_says_when_there_is_none(
    windows: Windows, screen: Screen, run_dir: Path
) -> None:
    with pytest.raises(NoSuchWindow, match="there are no windows"):
        attach_argv(run_dir, None)
    windows.reconcile([spec(run_dir, "pm"), spec(run_dir, "eng-1")])
    with pytest.raises(NoSuchWindow, match="eng-9 has no window"):
        attach_argv(run_dir, "eng-9")
    client = Client(run_dir, "eng-1")
    try:
        client.wait_for("hello from eng-1")
        assert screen.tmux("list-clients", "-F", "#{window_name}").strip() == "eng-1"
    finally:
        client.leave()


def test_target_is_found_by_window_name_or_index(windows: Windows, screen: Screen, run_dir: Path) -> None:
    assert find_target(run_dir, "shop:pm") is None
    assert find_target(run_dir / "nowhere", "shop:pm") is None
    windows.reconcile([spec(run_dir, "pm"), spec(run_dir, "eng-1")])
    assert find_target(run_dir, "shop:eng-1") == "eng-1"
    assert find_target(run_dir, "shop:1") == "eng-1"
    assert find_target(run_dir, "shop:eng-2") is None
    assert find_target(run_dir, "shop") is None
    assert find_target(run_dir, "shop:") is None


def test_second_kill_of_the_server_is_harmless_and_leaves_no_socket(
    windows: Windows, screen: Screen, run_dir: Path
) -> None:
    windows.reconcile([spec(run_dir, "pm")])
    server = os.pidfd_open(server_pid(screen))
    windows.kill_server()
    assert select.select([server], [], [], 0)[0], "the server has ended when kill_server returns"
    os.close(server)
    windows.kill_server()
    assert screen.windows() == []
    assert sorted(path.name for path in run_dir.iterdir()) == ["pm.ansi", "tmux.conf"]


def test_new_process_gives_a_running_server_its_configuration(
    windows: Windows, screen: Screen, run_dir: Path
) -> None:
    wanted = [spec(run_dir, "pm")]
    windows.reconcile(wanted)
    assert "prompt.py" in screen.tmux("list-keys", "-T", "root", "F2")
    assert not Windows(run_dir, ["another", "prompt"]).reconcile(wanted)
    assert "another" in screen.tmux("list-keys", "-T", "root", "F2")
    assert windows._run(["source-file", str(run_dir / "tmux.conf")]) == ("", [])
    assert screen.tmux("show-options", "-gv", "mouse").strip() == "on"


def test_without_tmux_the_error_says_how_to_install_it(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_dir)
    monkeypatch.setenv("PATH", str(run_dir))
    with pytest.raises(TmuxMissing, match="apt install tmux"):
        Windows(run_dir, ["prompt"]).reconcile([])
    with pytest.raises(TmuxMissing):
        find_target(run_dir, "shop:pm")


def test_process_outside_the_run_dir_is_refused(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TmuxFailed, match="enter_run_dir"):
        Windows(run_dir, ["prompt"]).reconcile([])
