"""bin/nightcrew, bin/test and bin/setup as a shell runs them, in a folder with spaces and umlauts.

The environment is a stand-in except in the slow test; what the launchers decide about it is real.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_TOOLS = ("sh", "uname", "readlink")
NO_PYTHON = "requires Python 3.11 or newer, but none was found"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the launchers with an environment that looks finished and prints its arguments."""
    root = tmp_path / "Ärger mit 'Leerzeichen'"
    (root / "bin").mkdir(parents=True)
    for name in ("nightcrew", "test", "setup", "bootstrap.py"):
        shutil.copy2(ROOT / "bin" / name, root / "bin" / name)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy2(ROOT / name, root / name)
    scripts = root / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "python").symlink_to(sys.executable)
    (scripts / "nightcrew").write_text("#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 7\n")
    (scripts / "nightcrew").chmod(0o755)
    (root / ".venv" / "nightcrew-run.stamp").write_text(f"{root}\n", encoding="utf-8")
    return root


def path_without(tmp_path: Path, *more: str) -> dict[str, str]:
    """An environment whose PATH has the few tools of SYSTEM_TOOLS and `more`, no Python and no installer."""
    folder = tmp_path / "tools"
    folder.mkdir(exist_ok=True)
    for tool in (*SYSTEM_TOOLS, *more):
        found = shutil.which(tool)
        assert found, tool
        if not (folder / tool).exists():
            (folder / tool).symlink_to(found)
    return {"PATH": str(folder), "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}


def run(
    command: Sequence[str | Path], env: dict[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_arguments_and_exit_status_pass_through_unchanged(checkout: Path, tmp_path: Path) -> None:
    ended = run([checkout / "bin/nightcrew", "a b", "", "$x 'q'", "ü"], path_without(tmp_path))
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "<a b><><$x 'q'><ü>", "")


def test_launcher_runs_through_links_and_from_any_folder(checkout: Path, tmp_path: Path) -> None:
    env = path_without(tmp_path)
    (tmp_path / "links").mkdir()
    absolute, relative = tmp_path / "links" / "absolute", tmp_path / "links" / "relative"
    absolute.symlink_to(checkout / "bin" / "nightcrew")
    relative.symlink_to(Path("..") / checkout.name / "bin" / "nightcrew")
    chained = tmp_path / "chained"
    chained.symlink_to("links/relative")
    for command in (absolute, relative, chained):
        assert run([command], env, cwd=Path("/")).returncode == 7
    assert run(["bin/nightcrew"], env | {"CDPATH": "/"}, cwd=checkout).returncode == 7
    assert run(["sh", "nightcrew"], env, cwd=checkout / "bin").returncode == 7
    by_path = env | {"PATH": f"{env['PATH']}:{checkout / 'bin'}"}
    assert run(["sh", "-c", "nightcrew"], by_path, cwd=tmp_path).returncode == 7


def test_environment_is_made_anew_when_it_is_missing_moved_outdated_or_has_lost_its_python(
    checkout: Path, tmp_path: Path
) -> None:
    env = path_without(tmp_path)
    stamp = checkout / ".venv" / "nightcrew-run.stamp"
    whole = stamp.read_text(encoding="utf-8")
    command = [checkout / "bin/nightcrew"]
    assert run(command, env).returncode == 7
    stamp.unlink()
    assert NO_PYTHON in run(command, env).stderr
    stamp.write_text("/elsewhere\n")
    assert NO_PYTHON in run(command, env).stderr
    for name in ("pyproject.toml", "constraints.txt"):
        stamp.write_text(whole, encoding="utf-8")
        before = (checkout / name).stat().st_mtime
        os.utime(checkout / name, (before, time.time() + 60))
        assert NO_PYTHON in run(command, env).stderr
        os.utime(checkout / name, (before, before))
    assert run(command, env).returncode == 7
    (checkout / ".venv/bin/python").unlink()
    (checkout / ".venv/bin/python").symlink_to(tmp_path / "gone")
    ended = run(command, env)
    assert NO_PYTHON in ended.stderr
    assert ended.returncode == 69


def test_without_a_python_the_message_has_a_command_to_type(checkout: Path, tmp_path: Path) -> None:
    ended = run([checkout / "bin/setup", "run"], path_without(tmp_path))
    assert ended.returncode == 69
    assert any(word in ended.stderr for word in ("install", "pacman -S", "apk add"))


def test_too_old_a_python_is_passed_over(checkout: Path, tmp_path: Path) -> None:
    env = path_without(tmp_path)
    old = tmp_path / "tools" / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    assert NO_PYTHON in run([checkout / "bin/setup", "run"], env).stderr


def test_without_git_the_set_up_ends_with_the_command_that_gets_it(checkout: Path, tmp_path: Path) -> None:
    env = path_without(tmp_path) | {"NIGHTCREW_PYTHON": sys.executable}
    ended = run([checkout / "bin/setup", "run"], env)
    assert ended.returncode == 69
    assert "git 2.38 or newer is missing. Install it with: " in ended.stderr
    assert "install git" in ended.stderr
    assert ended.stdout == ""


def test_second_set_up_waits_for_the_first(checkout: Path, tmp_path: Path) -> None:
    env = path_without(tmp_path) | {"NIGHTCREW_PYTHON": sys.executable}
    with (checkout / "bin/bootstrap.py").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with subprocess.Popen(
            [checkout / "bin/setup", "run"], env=env, stderr=subprocess.PIPE, text=True
        ) as second:
            assert second.stderr is not None
            assert "another set-up is running" in second.stderr.readline()
            assert second.poll() is None
            fcntl.flock(held, fcntl.LOCK_UN)
            assert "git" in second.stderr.read()
            assert second.wait(timeout=30) == 69


def test_bin_test_ends_with_counts_and_fails_when_the_lint_fails(checkout: Path, tmp_path: Path) -> None:
    scripts = checkout / ".venv" / "bin"
    for tool, status in {"ruff": 1, "mypy": 0, "lint-imports": 0, "pytest": 0}.items():
        (scripts / tool).write_text(f"#!/bin/sh\nexit {status}\n")
        (scripts / tool).chmod(0o755)
    shutil.copy2(checkout / ".venv/nightcrew-run.stamp", checkout / ".venv/nightcrew-test.stamp")
    ended = run([checkout / "bin/test"], path_without(tmp_path))
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1] == "0 passed, 2 failed"


def test_bin_test_fails_when_no_test_ran(checkout: Path, tmp_path: Path) -> None:
    scripts = checkout / ".venv" / "bin"
    for tool in ("ruff", "mypy", "lint-imports", "pytest"):
        (scripts / tool).write_text("#!/bin/sh\nexit 0\n")
        (scripts / tool).chmod(0o755)
    (scripts / "python").unlink()
    (scripts / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (scripts / "python").chmod(0o755)
    (checkout / "tests").mkdir()
    shutil.copy2(checkout / ".venv/nightcrew-run.stamp", checkout / ".venv/nightcrew-test.stamp")
    ended = run([checkout / "bin/test"], path_without(tmp_path))
    assert ended.returncode == 5
    assert "no tests ran" in ended.stdout.splitlines()[-1]


def await_file(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, "set-up ended before the instant to kill it at"
        assert time.monotonic() < deadline, f"{path} did not appear"
        os.sched_yield()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_set_up_is_mended_concurrent_ones_share_the_work_and_a_moved_checkout_is_made_anew(
    tmp_path: Path,
) -> None:
    root = tmp_path / "Größe mit Leerzeichen"
    listed = subprocess.check_output(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, text=True
    ).split("\0")
    for name in filter(None, listed):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    env = os.environ | {"HOME": str(tmp_path), "NIGHTCREW_HOME": str(tmp_path / "crew")}
    first = subprocess.Popen([root / "bin/setup", "run"], env=env, text=True, stderr=subprocess.DEVNULL)
    await_file(root / ".venv/lib" / f"python3.{sys.version_info.minor}" / "site-packages/pip", first)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert (root / ".venv/nightcrew-setup.begun").exists()

    command: list[str | Path] = [root / "bin/nightcrew", "--help"]
    two = [subprocess.Popen(command, env=env, text=True, stdout=-1, stderr=-1) for _ in range(2)]
    ended = [process.communicate(timeout=400) for process in two]
    if any("could not install" in error for _, error in ended):
        pytest.skip(f"PACKAGE INDEX OUT OF REACH: set-up was not tried\n{ended}")
    assert [process.returncode for process in two] == [0, 0], ended
    assert sum("creating .venv" in error for _, error in ended) == 1
    assert not (root / ".venv/nightcrew-setup.begun").exists()

    moved = tmp_path / "moved"
    root.rename(moved)
    again = run_long([moved / "bin/nightcrew", "--help"], env)
    assert (again.returncode, "creating .venv" in again.stderr) == (0, True)
    warm = run_long([moved / "bin/nightcrew", "--help"], env)
    assert (warm.returncode, warm.stderr) == (0, "")


def run_long(command: Sequence[str | Path], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=400, check=False)
