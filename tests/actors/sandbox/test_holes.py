"""Every sandbox escape that has been demonstrated elsewhere is blocked."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from actors.sandbox.choose import choose
from actors.sandbox.policy import MIB, Sandbox, SandboxPolicy
from actors.sandbox.run import run_command
from tests.actors.sandbox.conftest import Run, git, processes_with


def test_command_sees_its_worktree_and_runs_python_and_pytest(run: Run, worktree: Path) -> None:
    result = run("pwd; python hello.py; python -c 'import sys; print(sys.version_info[0])'; touch made")
    assert result.output.splitlines() == [str(worktree), "hello", "3"]
    assert (worktree / "made").is_file()
    assert run("python -m pytest --version").ok


def test_tmux_server_of_the_host_is_out_of_reach(run: Run, worktree: Path) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    # In the worktree itself, where the socket is visible: here only the seccomp filter blocks it.
    server = worktree / "t.sock"
    tmux = ["tmux", "-f", "/dev/null", "-S", str(server)]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run([*tmux, "new-session", "-d", "cat"], check=True, env=environment)
    try:
        result = run(f"tmux -S '{server}' send-keys 'touch hacked' Enter; tmux -S '{server}' list-sessions")
        assert not result.ok
        assert "1 windows" not in result.output
        assert subprocess.run([*tmux, "list-sessions"], check=True, env=environment).returncode == 0
    finally:
        subprocess.run([*tmux, "kill-server"], check=True, env=environment)


def test_git_works_inside_but_nothing_of_the_repository_can_be_written(
    run: Run, repository: Path, worktree: Path
) -> None:
    (worktree / "new.txt").write_text("x")
    assert run("git status --porcelain && git log --oneline && git diff --stat").ok
    assert "?? new.txt" in run("git status --porcelain").output
    for attempt in (
        "git add new.txt",
        "git commit --allow-empty -m no",
        "git config core.fsmonitor evil",
        f"touch '{repository}/.git/hooks/pre-commit'",
        f"echo evil > '{repository}/.git/config'",
    ):
        assert not run(attempt).ok, attempt


def test_git_file_of_the_worktree_cannot_be_swapped(run: Run, worktree: Path) -> None:
    before = (worktree / ".git").read_bytes()
    for attempt in (
        "rm -f .git",
        "mv .git x",
        "echo 'gitdir: evil' > .git",
        "ln -sf evil .git",
        "rm -rf .git; git init",
    ):
        run(attempt)
    assert (worktree / ".git").read_bytes() == before
    assert git(worktree, "rev-parse", "--abbrev-ref", "HEAD").strip() == "task"


def test_forged_git_file_does_not_open_another_folder(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "home" / "secrets"
    secret.mkdir(parents=True)
    (secret / "HEAD").write_text("ref: x")
    (secret / "key").write_text("a secret")
    folder = tmp_path / "bare-folder"
    folder.mkdir()
    (folder / ".git").write_text(f"gitdir: {secret}\n")
    result = run_command(sandbox, f"cat '{secret}/key'", worktree=folder)
    assert "a secret" not in result.output


def test_nested_repository_with_fsmonitor_runs_only_inside(run: Run, worktree: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran-on-host"
    evil = f"touch {marker}; echo ran >&2; :"
    result = run(
        f"git init -q nested && cd nested && git config core.fsmonitor '{evil}' && touch a && git status"
    )
    assert "ran" in result.output
    assert not marker.exists()


def test_symbolic_link_out_leads_nowhere(run: Run, worktree: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret")
    (worktree / "link").symlink_to(secret)
    assert "a secret" not in run("cat link").output
    run("echo overwritten > link")
    assert secret.read_text() == "a secret"


def test_proc_shows_only_the_commands_own_processes(run: Run) -> None:
    listed = run("ls /proc").output.split()
    assert len([name for name in listed if name.isdigit()]) <= 5
    assert not run(f"kill -0 {os.getpid()}").ok


def test_kernel_settings_cannot_be_written_even_by_root(run: Run) -> None:
    # bubblewrap 0.8 alone leaves this open to root: core_pattern names a program that the host runs.
    result = run("for f in kernel/core_pattern kernel/hostname; do (: >> /proc/sys/$f) && echo OPEN; done")
    assert "OPEN" not in result.output


def test_home_and_the_crews_own_store_and_sockets_are_hidden(run: Run, tmp_path: Path) -> None:
    store = tmp_path / "crew-home"
    store.mkdir()
    (store / "store.db").write_text("rows")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wake:
        wake.bind(str(store / "wake.sock"))
        assert not run(f"ls '{store}'").ok
        probe = f"from socket import *; socket(AF_UNIX, SOCK_DGRAM).sendto(b'x', '{store}/wake.sock')"
        assert not run(["python3", "-c", probe]).ok
    assert run("ls -A ~").output == ""


def test_crew_home_below_a_visible_root_is_covered() -> None:
    # /usr/share represents a service user's home below /opt: visible unless it is hidden explicitly.
    target = Path("/usr/share/doc")
    if not target.is_dir():
        pytest.skip("no folder to hide")
    hidden = choose(SandboxPolicy(hidden_paths=(target,)), probe=False)
    assert str(target) in hidden.covered


def test_localhost_of_the_host_is_out_of_reach_without_network(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not run(f"exec 3<>/dev/tcp/127.0.0.1/{port}").ok


def test_localhost_is_reached_only_where_the_policy_allows_the_network(worktree: Path) -> None:
    networked = choose(SandboxPolicy(network=True))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert run_command(networked, f"exec 3<>/dev/tcp/127.0.0.1/{port}", worktree=worktree).ok
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0nightcrew-test-{os.getpid()}")
        listener.listen()
        probe = f"import socket; socket.socket(socket.AF_UNIX).connect('\\0nightcrew-test-{os.getpid()}')"
        assert not run_command(networked, ["python3", "-c", probe], worktree=worktree).ok


def test_unix_datagrams_cannot_leave_by_a_socket_pair(run: Run) -> None:
    probe = "import socket; socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)"
    assert "PermissionError" in run(["python3", "-c", probe]).output
    assert run(["python3", "-c", "import asyncio; asyncio.run(asyncio.sleep(0))"]).ok


def test_fork_bomb_ends_and_leaves_the_machine_usable(run: Run) -> None:
    result = run(":(){ :|:& };:; sleep 20")
    assert result.killed_for == "processes"
    assert result.duration_s < 15
    assert run("echo usable").output == "usable\n"


def test_memory_is_bounded_over_all_processes(worktree: Path) -> None:
    small = choose(SandboxPolicy(memory_bytes=200 * MIB), probe=False)
    hog = "python3 -c \"x = b'x' * (120 << 20); import time; time.sleep(20)\""
    result = run_command(small, f"{hog} & {hog} & wait", worktree=worktree, timeout_s=20)
    assert result.killed_for == "memory"


def test_private_tmp_and_home_are_bounded(worktree: Path) -> None:
    small = choose(SandboxPolicy(memory_bytes=64 * MIB), probe=False)
    for folder in ("/tmp", "/dev/shm", "~"):
        assert not run_command(small, f"head -c 50M /dev/zero > {folder}/x", worktree=worktree).ok


def test_daemons_that_ignore_term_and_leave_the_session_die_with_the_command(
    run: Run, worktree: Path
) -> None:
    (worktree / "daemon.py").write_text(
        "import os, signal, time\n"
        "for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "open('up', 'w').close()\n"
        "time.sleep(60)\n"
    )
    name = f"daemon-{os.getpid()}"
    result = run(f"python daemon.py {name} & until [ -e up ]; do sleep 0.01; done; echo left")
    assert result.output == "left\n"
    assert not processes_with(name)


def test_reviewer_cannot_write_the_worktree(run: Run, worktree: Path) -> None:
    assert not run("touch made", writable=False).ok
    assert not (worktree / "made").exists()


def test_environment_of_a_command_is_an_allow_list(worktree: Path) -> None:
    host = {
        "PATH": os.environ["PATH"],
        "HOME": str(Path.home()),
        "API_TOKEN": "a secret",
        "BUILD": "7",
        "LANG": "C",
    }
    chosen = choose(SandboxPolicy(environment=("BUILD",)), probe=False, environ=host)
    output = run_command(chosen, "env", worktree=worktree).output
    assert "a secret" not in output
    assert "BUILD=7" in output.splitlines()
    assert "HOME=/home/agent" in output.splitlines()


def test_password_hashes_are_hidden_from_roots_commands(run: Run) -> None:
    assert not run("cat /etc/shadow").ok
    assert run("getent passwd root").ok


def test_sandbox_holds_for_an_ordinary_user(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("every test here already runs as an ordinary user")
    if shutil.which("setpriv") is None or not Path("/usr/bin/python3").exists():
        pytest.skip("needs setpriv and the system's Python")
    copy = Path("/tmp") / f"nightcrew-user-{os.getpid()}"  # other users cannot read pytest's own folder
    try:
        import psutil

        for package in ("actors", "store"):
            shutil.copytree(Path(__file__).parents[3] / package, copy / package)
        shutil.copytree(Path(psutil.__file__).parent, copy / "psutil")
        (copy / "home").mkdir()
        for path in (copy, *copy.rglob("*")):
            os.chown(path, 65534, 65534)
        code = (
            "from actors.sandbox.choose import choose; from actors.sandbox.policy import SandboxPolicy; "
            "from actors.sandbox.selftest import self_test; "
            "r = self_test(choose(SandboxPolicy())); print(r.holds, r.summary)"
        )
        words = [
            "setpriv",
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "/usr/bin/python3",
            "-c",
            code,
        ]
        environment = {"HOME": str(copy / "home"), "PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin"}
        answer = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True, check=False)
        if "ImportError" in answer.stderr:
            pytest.skip(f"the system's Python can't load this environment's modules: {answer.stderr[-200:]}")
        assert answer.stdout.startswith("True"), answer.stdout + answer.stderr
    finally:
        shutil.rmtree(copy, ignore_errors=True)
