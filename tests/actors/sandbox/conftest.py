"""A real sandbox and a real git worktree for each test."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from actors.sandbox.choose import choose
from actors.sandbox.errors import SandboxUnavailable
from actors.sandbox.policy import Sandbox, SandboxPolicy
from actors.sandbox.run import CommandResult, run_command
from actors.tools.base import ToolContext


def git(folder: Path, *words: str) -> str:
    """Run git with an identity and none of the user's settings; returns its output."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "core.hooksPath=/dev/null"]
    command = ["git", *identity, "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def processes_with(text: str) -> list[str]:
    """Command lines of the host's processes that contain `text`, without zombies and this process."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if text in command and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(command)
    return found


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    try:
        return choose(SandboxPolicy())
    except SandboxUnavailable as unavailable:
        pytest.skip(f"NO SANDBOX TESTED: {unavailable}")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "hello.py").write_text("print('hello')\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.fixture
def worktree(repository: Path, tmp_path: Path) -> Path:
    """A linked worktree, as agents have them: its `.git` is a file."""
    folder = tmp_path / "worktrees" / "task ä 1"
    git(repository, "worktree", "add", "-q", "-b", "task", str(folder))
    return folder


Run = Callable[..., CommandResult]


@pytest.fixture
def run(sandbox: Sandbox, worktree: Path) -> Run:
    def run_here(command: str | list[str], **options: object) -> CommandResult:
        return run_command(sandbox, command, **{"worktree": worktree, "timeout_s": 20.0, **options})  # type: ignore[arg-type]  # options are run_command's own

    return run_here


@pytest.fixture
def context(sandbox: Sandbox, worktree: Path, tmp_path: Path) -> ToolContext:
    return ToolContext(
        worktree=worktree,
        sandbox=sandbox,
        spill_dir=tmp_path / "spill",
        call_id="engineer-1/7",
        cancelled=threading.Event(),
    )
