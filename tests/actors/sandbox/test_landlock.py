"""Landlock: when it is chosen or refused, and that every demonstrated escape is blocked."""

from __future__ import annotations

import os
import signal
import socket
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from actors.sandbox.backends import landlock as landlock_module
from actors.sandbox.backends.landlock import LEAST_VERSION, SIGNALS_VERSION, fixed_grants, ruleset
from actors.sandbox.backends.seatbelt import profile
from actors.sandbox.choose import choose
from actors.sandbox.errors import SandboxFailed, SandboxUnavailable
from actors.sandbox.launch import landlock as launch_module
from actors.sandbox.policy import MIB, Sandbox, SandboxPolicy, View
from actors.sandbox.run import run_command
from actors.sandbox.selftest import Probe, self_test
from actors.tools.base import ToolContext
from actors.tools.shell import NO_NEW_ENTRIES, Shell
from tests.actors.sandbox.conftest import Run, git, processes_with
from tests.actors.tools.test_settle import _kill, _start_agent
from tests.support.waiting import eventually

_LANDLOCK = SandboxPolicy(mode="landlock")


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    """Replaces the bubblewrap sandbox for all tests in this file."""
    try:
        return choose(_LANDLOCK)
    except SandboxUnavailable as unavailable:
        pytest.skip(f"LANDLOCK NOT TESTED: {unavailable}")


@pytest.fixture
def worktree(worktree: Path) -> Path:
    (worktree / "src").mkdir()
    return worktree


def test_self_test_holds_and_lists_what_stays_visible(sandbox: Sandbox, tmp_path: Path) -> None:
    report = self_test(sandbox, home=tmp_path)
    assert report.error is None
    assert report.holds, report.summary
    assert report.mode == "landlock"
    still_open = {probe.name for probe in report.probes if not probe.blocked}
    expected = {"see_socket", "see_processes"}
    if sandbox.landlock_version < SIGNALS_VERSION:
        expected.add("signal_processes")
    assert still_open == expected
    assert "see_processes" in report.summary


def test_command_reads_writes_and_runs_python_in_its_worktree(run: Run, worktree: Path) -> None:
    result = run(
        "pwd; python hello.py; echo x > src/made; mkdir src/d; mv src/made src/d/; sed -i s/hello/bye/ src/d/*; exit 3"
    )
    assert result.output.splitlines() == [str(worktree), "hello"]
    assert result.exit_code == 3
    assert (worktree / "src/d/made").read_text() == "x\n"
    assert run("echo changed > hello.py && cat hello.py").output.strip() == "changed"
    assert run('cat <(echo two) && echo t > "$TMPDIR/t" && ls -A ~').output == "two\n"
    assert run("python -m pytest --version").ok


def test_command_cannot_write_to_a_read_only_view(run: Run, worktree: Path) -> None:
    assert not run("echo x > src/no", writable=False).ok
    assert run("cat hello.py", writable=False).ok


def test_nothing_can_be_created_in_the_top_folder_so_that_git_stays_unchanged(
    run: Run, worktree: Path, repository: Path
) -> None:
    before = (worktree / ".git").read_bytes()
    for attempt in (
        "rm -f .git",
        "mv .git src/x",
        "mv .git x",
        "ln .git src/linked",
        "echo 'gitdir: evil' > .git",
        "truncate -s 0 .git",
        "ln -sf evil .git",
        "echo evil > src/y && mv src/y .git",
        "echo evil > src/y && ln -f src/y .git",
        "python -c \"import os; os.truncate('.git', 0)\"",
        f"echo evil > '{repository}/.git/config'",
        f"ln '{repository}/.git/config' src/config",
        f"touch '{repository}/.git/hooks/pre-commit'",
        "git commit --allow-empty -m no",
        "mv ../'task ä 1' ../other",
        "touch made",
    ):
        assert not run(attempt).ok, attempt
    assert (worktree / ".git").read_bytes() == before
    assert git(worktree, "rev-parse", "--abbrev-ref", "HEAD").strip() == "task"
    assert run("git status --porcelain && git log --oneline").ok


def test_links_in_the_worktree_open_nothing_outside(run: Run, worktree: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secrets"
    secret.mkdir()
    (secret / "key").write_text("a secret")
    (worktree / "link").symlink_to(secret)
    (worktree / "src/link").symlink_to(secret / "key")
    assert "a secret" not in run("cat link/key src/link").output
    run("echo overwritten > link/key; echo overwritten > src/link; ln link/key src/hard")
    assert (secret / "key").read_text() == "a secret"
    assert not (worktree / "src/hard").exists()


def test_sockets_shared_memory_and_namespaces_are_refused(run: Run, worktree: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.create_server(("127.0.0.1", 0)) as server:
        listener.bind(str(worktree / "src/sock"))
        listener.listen()
        port = server.getsockname()[1]
        for attempt in (
            "import socket; socket.socket(socket.AF_UNIX).connect('src/sock')",
            f"import socket; socket.socket().connect(('127.0.0.1', {port}))",
            f"import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))",
            "import ctypes, sys; sys.exit(ctypes.CDLL(None).shmget(0, 4096, 0o1600) < 0)",
            "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x10000000) < 0)",
            "open('/dev/shm/nightcrew-test', 'w')",
        ):
            assert not run(["python3", "-c", attempt]).ok, attempt


def test_localhost_is_reached_only_where_the_policy_allows_the_network(
    worktree: Path, sandbox: Sandbox
) -> None:
    networked = choose(replace(_LANDLOCK, network=True))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert run_command(networked, f"exec 3<>/dev/tcp/127.0.0.1/{port}", worktree=worktree).ok
        assert not run_command(sandbox, f"exec 3<>/dev/tcp/127.0.0.1/{port}", worktree=worktree).ok


def test_other_processes_keep_their_environment_and_memory(run: Run, sandbox: Sandbox) -> None:
    pid = os.getpid()
    for attempt in (
        f"cat /proc/{pid}/environ",
        f"readlink /proc/{pid}/fd/1",
        f"cat /proc/{pid}/root/etc/hostname",
    ):
        assert not run(attempt).ok, attempt
    if sandbox.landlock_version >= SIGNALS_VERSION:
        assert not run(f"kill -0 {pid}").ok
        assert not run("kill -0 $PPID").ok, "its own launcher"


def test_kernel_settings_and_password_hashes_are_inaccessible_even_for_root(run: Run) -> None:
    assert not run(": >> /proc/sys/kernel/core_pattern").ok
    assert not run("cat /etc/shadow").ok
    assert run("cat /etc/passwd").ok
    assert "CapEff:\t0000000000000000" in run("cat /proc/self/status").output


def test_daemon_that_leaves_group_tree_and_environment_ends_with_the_command(run: Run) -> None:
    result = run(
        "trap '' TERM HUP; setsid env -i /bin/sh -c 'trap \"\" TERM; (sleep 4712.5 &) & exec sleep 4712.5' & exit 0"
    )
    assert result.ok
    assert not processes_with("sleep 4712.5")


def test_timeout_cancel_and_signals_are_distinguished(run: Run) -> None:
    late = run("echo half; sleep 4713.5 & sleep 4713.5", timeout_s=0.5)
    assert (late.killed_for, late.output.strip()) == ("timeout", "half")
    cancelled = threading.Event()
    ended = run("echo up; sleep 4713.5", cancelled=cancelled, on_output=lambda _: cancelled.set())
    assert ended.killed_for == "cancelled"
    assert run("kill -9 $$").signal == signal.SIGKILL
    assert not processes_with("sleep 4713.5")


def test_launcher_killed_before_the_command_starts_is_a_failure_of_the_sandbox(
    sandbox: Sandbox, worktree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await_ready = launch_module._await_ready

    def then_killed(info_fd: int, output_fd: int) -> None:
        await_ready(info_fd, output_fd)
        launchers = [child for child in psutil.Process().children() if "confine" in str(child.cmdline())]
        # The launcher first: when its child ends, it exits with the child's exit code.
        family = [process for found in launchers for process in (found, *found.children())]
        for process in family:
            process.kill()
        eventually(lambda: all(not _runs(process) for process in family), "the launcher and its child end")

    monkeypatch.setattr(launch_module, "_await_ready", then_killed)
    with pytest.raises(SandboxFailed, match="ended before the command: no message, exit code -9"):
        run_command(sandbox, "true", worktree=worktree)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_many_processes_are_ended_at_the_limit(sandbox: Sandbox, worktree: Path) -> None:
    small = replace(sandbox, policy=replace(sandbox.policy, max_processes=20))
    # Instead of a fork bomb: more processes than the limit, but no danger to the machine.
    result = run_command(
        small, "for i in $(seq 60); do sleep 4714.5 & done; wait", worktree=worktree, timeout_s=20
    )
    assert result.killed_for == "processes"
    assert not processes_with("sleep 4714.5")


def test_private_folder_is_deleted_whatever_the_command_did_to_it(run: Run) -> None:
    result = run('mkdir -p "$TMPDIR/a/b"; chmod 0 "$TMPDIR/a"; echo "$TMPDIR"')
    assert not Path(result.output.strip()).exists()


def test_command_ends_with_its_killed_agent_and_the_outcome_is_unknown(context: ToolContext) -> None:
    arguments = {"command": "echo half; touch src/up; setsid sleep 4715.5 & sleep 4715.5"}
    (context.worktree / "src").mkdir(exist_ok=True)
    intent = Shell().intend(arguments, context)
    agent = _start_agent(context, arguments["command"], "landlock")
    eventually((context.worktree / "src/up").exists, "the command runs", within_s=20)
    _kill(agent)
    result = Shell().settle(arguments, intent, context)
    assert result is not None
    assert "Outcome unknown" in result.text
    eventually(lambda: not processes_with("sleep 4715.5"), "nothing of it is left", within_s=20)


def test_launcher_itself_records_the_exit_code(sandbox: Sandbox, worktree: Path, tmp_path: Path) -> None:
    from actors.sandbox.record import RecordFiles, read_status

    run_command(sandbox, "exit 5", worktree=worktree, spill_dir=tmp_path / "spill", call_id="x")
    facts = read_status(RecordFiles.of(tmp_path / "spill", "x"))
    assert facts["exit-code"] == 5
    assert "started" in facts


def test_missing_program_and_broken_set_up_are_distinguished(
    run: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    missing = run(["no-such-program"])
    assert missing.exit_code == 127
    assert "no-such-program" in missing.output
    with pytest.raises(SandboxFailed, match="Landlock"):
        run("true", read_only=(tmp_path / "nowhere",))


def test_auto_falls_back_to_landlock_where_bubblewrap_fails(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "bwrap").write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo bubblewrap 0.8.0 && exit\nexit 1\n"
    )
    (tmp_path / "bwrap").chmod(0o755)
    host = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
    for probe in (True, False):
        chosen = choose(SandboxPolicy(), environ=host, probe=probe)
        assert (chosen.mode, chosen.confines) == ("landlock", True)


@pytest.mark.parametrize("version", [0, 1, LEAST_VERSION - 1])
def test_kernel_with_too_old_landlock_is_refused_with_both_remedies(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock_module, "version", lambda: version)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(SandboxUnavailable, match=r"apt install bubblewrap.*Landlock cannot replace it.*6\.2"):
        choose(SandboxPolicy())
    with pytest.raises(SandboxUnavailable, match="--unsafe"):
        choose(_LANDLOCK)


def test_unix_sockets_can_not_be_allowed_under_landlock(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxUnavailable, match="unix_sockets"):
        choose(replace(_LANDLOCK, unix_sockets=True))


def test_rule_set_uses_only_what_the_version_supports() -> None:
    assert ruleset(3, network=False) == {"fs": 0x7FFF, "net": 0, "scoped": 0, "bytes": 8}
    assert ruleset(4, network=False) == {"fs": 0x7FFF, "net": 3, "scoped": 0, "bytes": 16}
    assert ruleset(7, network=True) == {"fs": 0xFFFF, "net": 0, "scoped": 3, "bytes": 24}


@pytest.mark.parametrize("version", [3, 4, 5])
def test_older_versions_rules_confine_too(version: int, sandbox: Sandbox, tmp_path: Path) -> None:
    if sandbox.landlock_version < version:
        pytest.skip("this kernel has less")
    report = self_test(replace(sandbox, landlock_version=version), home=tmp_path)
    assert report.holds, report.summary
    probes: dict[str, Probe] = {probe.name: probe for probe in report.probes}
    assert not probes["signal_processes"].blocked, "honest about what version 6 brought"


def test_hidden_folder_below_a_visible_root_is_left_out_of_the_grants() -> None:
    granted = fixed_grants(["/usr/share/doc"], [], network=False)
    assert "/usr" not in granted
    assert "/usr/share/doc" not in granted
    assert "/usr/bin" in granted


def test_macos_profile_denies_git_after_it_allows_the_worktree(worktree: Path) -> None:
    chosen = Sandbox(
        SandboxPolicy(memory_bytes=64 * MIB), "/usr/bin/sandbox-exec", (), (), (), (), "/bin/sh", "seatbelt"
    )
    text = profile(chosen, View(worktree))
    assert text.index(f'file-write* (subpath "{worktree}")') < text.index(
        f'deny file-write* (subpath "{worktree}/.git")'
    )
    assert "(deny default)" in text
    assert "network" not in text


def test_result_says_why_a_command_cannot_create_files_in_the_top_folder(
    sandbox: Sandbox, worktree: Path, tmp_path: Path
) -> None:
    context = ToolContext(worktree, sandbox, tmp_path / "spill", "1-0")
    result = Shell().run({"command": "touch made"}, context)
    assert not result.ok
    assert NO_NEW_ENTRIES in result.text
