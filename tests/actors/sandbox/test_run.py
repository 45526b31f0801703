"""One command: its result, its limits, its end, and no descriptor left open."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from actors.sandbox.choose import choose
from actors.sandbox.errors import SandboxFailed, SandboxUnavailable
from actors.sandbox.launch import bubblewrap as launch_module
from actors.sandbox.output import OutputCapture, plain
from actors.sandbox.policy import MIB, Sandbox, SandboxPolicy
from actors.sandbox.run import run_command
from actors.sandbox.selftest import self_test
from tests.actors.sandbox.conftest import Run, processes_with
from tests.support.waiting import eventually


@pytest.fixture
def unconfined() -> Sandbox:
    return choose(SandboxPolicy(), unsafe=True)


@pytest.mark.parametrize(
    ("command", "code", "signal"), [("exit 3", 3, None), ("kill -9 $$", 137, 9), ("nosuch", 127, None)]
)
def test_exit_code_and_signal_are_those_of_the_command(
    run: Run, command: str, code: int, signal: int | None
) -> None:
    result = run(command)
    assert (result.exit_code, result.signal, result.killed_for) == (code, signal, None)


def test_result_has_head_and_tail_of_the_output_and_a_file_has_all_of_it(run: Run, tmp_path: Path) -> None:
    result = run("seq 100000", spill_dir=tmp_path / "spill", call_id="a/b", shown_chars=1000)
    assert result.output.startswith("1\n2\n")
    assert result.output.endswith("99999\n100000\n")
    assert len(result.output) < 1400
    assert result.spill_path is not None
    assert str(result.spill_path) in result.output
    assert result.spill_path.read_text().count("\n") == 100_000
    assert run(f"tail -n1 '{result.spill_path}'", spill_dir=tmp_path / "spill").output == "100000\n"
    assert not run(f"rm '{result.spill_path}'", spill_dir=tmp_path / "spill").ok


def test_200_megabytes_of_output_are_read_without_being_kept(run: Run, tmp_path: Path) -> None:
    shown: list[str] = []
    result = run("yes | head -c 200000000", spill_dir=tmp_path / "spill", call_id="x", on_output=shown.append)
    assert result.ok
    assert result.total_bytes == 200_000_000
    assert sum(len(text) for text in shown) < 2 * MIB
    assert (tmp_path / "spill" / "x.out").stat().st_size <= SandboxPolicy().max_spill_bytes


def test_endless_output_ends_the_command(worktree: Path) -> None:
    small = choose(SandboxPolicy(max_output_bytes=5 * MIB), probe=False)
    assert run_command(small, "yes", worktree=worktree, timeout_s=20).killed_for == "output"


@pytest.mark.parametrize("mode", ["sandbox", "unconfined"])
def test_timeout_ends_children_that_ignore_term_and_left_the_session(
    mode: str, worktree: Path, request: pytest.FixtureRequest
) -> None:
    chosen: Sandbox = request.getfixturevalue(mode)
    # A different number in each mode: both may run at the same time, and all processes are searched.
    nap = {"sandbox": "sleep 98765", "unconfined": "sleep 98764"}[mode]
    command = f"trap '' TERM; setsid sh -c \"trap '' TERM HUP; touch up; {nap}\" & echo on; {nap}"
    result = run_command(chosen, command, worktree=worktree, timeout_s=0.6)
    assert result.timed_out
    assert result.exit_code is None
    assert result.output == "on\n"
    assert result.duration_s < 5
    assert (worktree / "up").exists()
    assert not processes_with(nap)


@pytest.mark.parametrize("mode", ["sandbox", "unconfined"])
def test_cancel_acts_within_200_ms(mode: str, worktree: Path, request: pytest.FixtureRequest) -> None:
    cancelled, set_at = threading.Event(), [0.0]

    def cancel(_: str) -> None:
        set_at[0] = time.monotonic()
        cancelled.set()

    chosen: Sandbox = request.getfixturevalue(mode)
    result = run_command(
        chosen, "trap '' TERM; echo go; sleep 60", worktree=worktree, cancelled=cancelled, on_output=cancel
    )
    assert result.cancelled
    # The limit is 0.2 s; a busy machine needs some more.
    assert time.monotonic() - set_at[0] < 0.5


def test_output_is_live_and_characters_are_never_cut(run: Run) -> None:
    seen: list[str] = []
    result = run("printf '\\xc3'; sleep 0.1; printf '\\xa4\\n'", on_output=seen.append)
    assert "".join(seen) == result.output == "ä\n"


def test_watcher_that_raises_ends_the_command(run: Run) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("no screen")

    started = time.monotonic()
    with pytest.raises(RuntimeError, match="no screen"):
        run("echo x; sleep 30", on_output=fail)
    assert time.monotonic() - started < 5


def test_command_that_closes_its_output_is_waited_for(run: Run, worktree: Path) -> None:
    assert run("exec >/dev/null 2>&1; sleep 0.2; touch late; exit 4").exit_code == 4
    assert (worktree / "late").exists()


def test_no_descriptor_is_leaked_by_many_commands(run: Run) -> None:
    run("true")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    for command in ("true", "false", "sleep 0.01 & echo"):
        run(command)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_commands_run_side_by_side_from_threads(run: Run) -> None:
    outputs: dict[int, str] = {}

    def one(number: int) -> None:
        outputs[number] = run(f"echo {number}").output

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == {number: f"{number}\n" for number in range(8)}


def test_missing_worktree_is_a_failure_of_the_sandbox_not_of_the_command(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    with pytest.raises(SandboxFailed, match="gone"):
        run_command(sandbox, "true", worktree=tmp_path / "gone")


def test_nul_in_a_command_is_refused(run: Run) -> None:
    with pytest.raises(SandboxFailed, match="NUL"):
        run("echo \0")


def test_self_test_finds_every_way_out_blocked_in_under_a_second(sandbox: Sandbox, tmp_path: Path) -> None:
    report = self_test(sandbox, home=tmp_path)
    assert report.error is None
    assert report.holds, report.summary
    assert len(report.probes) >= 13
    assert report.as_json()["probes"][0]["blocked"] is True
    assert list(tmp_path.iterdir()) == []


def test_self_test_lists_which_ways_the_policy_opens(tmp_path: Path) -> None:
    report = self_test(choose(SandboxPolicy(network=True), probe=False), home=tmp_path)
    assert report.holds
    assert [probe.name for probe in report.probes if not probe.blocked] == ["localhost_tcp"]
    assert self_test(choose(SandboxPolicy(unix_sockets=True), probe=False), home=tmp_path).holds
    with pytest.raises(SandboxUnavailable, match="together"):
        choose(SandboxPolicy(unix_sockets=True, network=True))


def test_self_test_reports_an_unconfined_crew_as_open(unconfined: Sandbox, tmp_path: Path) -> None:
    report = self_test(unconfined, home=tmp_path)
    assert not report.holds
    observed = {probe.name: probe.blocked for probe in report.probes}
    assert observed["read_home"] is False
    assert observed["localhost_tcp"] is False
    assert report.mode == "unsafe"


@pytest.fixture
def broken(sandbox: Sandbox) -> Sandbox:
    """A sandbox whose first process starts and fails during the set-up."""
    return replace(sandbox, arguments=(*sandbox.arguments, "--ro-bind", "/nonexistent", "/x"))


def test_self_test_of_a_broken_sandbox_does_not_hold(broken: Sandbox, tmp_path: Path) -> None:
    report = self_test(broken, home=tmp_path)
    assert not report.holds
    assert "nonexistent" in str(report.error)


def _gone(pid: int) -> None:
    eventually(lambda: not psutil.pid_exists(pid), f"bubblewrap has reaped {pid}")


def _gone_before_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    first_pid = launch_module._first_pid

    def late(info_fd: int, output_fd: int) -> int:
        pid = first_pid(info_fd, output_fd)
        _gone(pid)
        return pid

    monkeypatch.setattr(launch_module, "_first_pid", late)


def _gone_before_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = launch_module._set_limits

    def late(pid: int, sandbox: Sandbox) -> None:
        _gone(pid)
        limit(pid, sandbox)

    monkeypatch.setattr(launch_module, "_set_limits", late)


def _gone_before_its_go(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(pid: int, _: Sandbox) -> None:
        _gone(pid)

    # Set no limits: setting them by process id would be a race with the end.
    monkeypatch.setattr(launch_module, "_set_limits", late)


@pytest.mark.parametrize(
    "race",
    [_gone_before_it_is_opened, _gone_before_its_limits, _gone_before_its_go],
    ids=lambda race: race.__name__[1:],
)
def test_sandbox_that_breaks_while_we_start_it_fails_with_bubblewraps_own_words(
    race: Callable[[pytest.MonkeyPatch], None],
    broken: Sandbox,
    worktree: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    race(monkeypatch)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    with pytest.raises(SandboxFailed, match=r"could not set up the sandbox: bwrap: .*/nonexistent") as caught:
        run_command(broken, "true", worktree=worktree)
    assert "No such process" not in str(caught.value)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_sandbox_that_is_killed_before_its_limits_are_set_fails_with_its_exit_code(
    sandbox: Sandbox, worktree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = launch_module._set_limits

    def killed(pid: int, sandbox: Sandbox) -> None:
        # This sandbox works and waits for the start byte, so its process is alive until now.
        os.kill(pid, signal.SIGKILL)
        _gone(pid)
        limit(pid, sandbox)

    monkeypatch.setattr(launch_module, "_set_limits", killed)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    with pytest.raises(SandboxFailed, match="no message, exit code 137"):
        run_command(sandbox, "true", worktree=worktree)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_missing_bubblewrap_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(SandboxUnavailable, match="apt install bubblewrap"):
        choose(SandboxPolicy(mode="bubblewrap"))


def test_bubblewrap_that_fails_is_refused_with_its_own_message(tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo bubblewrap 0.8.0 && exit\necho no userns >&2; exit 1\n"
    )
    (tmp_path / "bwrap").chmod(0o755)
    host = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
    with pytest.raises(SandboxUnavailable, match="no userns"):
        choose(SandboxPolicy(mode="bubblewrap"), environ=host)


def test_unsafe_mode_needs_the_option_too() -> None:
    with pytest.raises(SandboxUnavailable, match="--unsafe"):
        choose(SandboxPolicy(mode="unsafe"))
    assert not choose(SandboxPolicy(mode="unsafe"), unsafe=True).confines


@pytest.mark.parametrize("path", ["/", "~", "/tmp"])
def test_read_only_path_that_would_show_everything_is_refused(path: str) -> None:
    with pytest.raises(SandboxUnavailable, match="read-only path"):
        choose(SandboxPolicy(read_only_paths=(Path(path),)), probe=False)


def test_plain_text_is_what_a_reader_of_the_screen_sees() -> None:
    assert plain("\x1b[31mred\x1b[0m\n 10%\r 99%\r\ndone\x07\r\n\x1b]0;title\x07x") == "red\n 99%\ndone\nx"


def test_one_endless_line_is_shortened_quickly(tmp_path: Path) -> None:
    with OutputCapture(None, shown_chars=10_000, spill_bytes=0, on_output=None) as capture:
        for _ in range(64):
            capture.feed(b"a" * 65536)
        started = time.monotonic()
        text = capture.text()
    assert len(text) < 10_200
    assert time.monotonic() - started < 1
