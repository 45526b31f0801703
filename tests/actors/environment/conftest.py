"""Ordinary repositories of several kinds, made with the ordinary tools, and commands in a worktree of each."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actors.environment.project import Environment, find_environment, project_sandbox
from actors.sandbox.choose import choose
from actors.sandbox.errors import SandboxUnavailable
from actors.sandbox.policy import Sandbox, SandboxPolicy
from actors.sandbox.run import CommandResult, run_command
from tests.actors.sandbox.conftest import git


@dataclass(slots=True)
class Project:
    """A repository as a user has it, and a worktree of the crew's beside it."""

    folder: Path
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    sandbox: Sandbox | None = None

    @property
    def checkout(self) -> Path:
        return self.folder / "home" / "shop"

    @property
    def worktree(self) -> Path:
        return self.folder / "crew" / "work" / "t1"

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.checkout / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self) -> None:
        """Make the repository of the files, and the crew's worktree at its commit."""
        git(self.checkout, "init", "-q", "-b", "main")
        git(self.checkout, "add", "-A")
        git(self.checkout, "commit", "-qm", "first")
        git(self.checkout, "worktree", "add", "-q", "-b", "t1", str(self.worktree))

    def install(self, *words: str) -> None:
        """Run a tool in the checkout, as the user did. Skips the test if it cannot reach its registry."""
        if shutil.which(words[0], path=f"{self.environ['PATH']}:{self.checkout}/.venv/bin") is None:
            pytest.skip(f"NOT TESTED: {words[0]} is not installed")
        done = subprocess.run(
            words, cwd=self.checkout, env=self.environ, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(
                f"NOT TESTED: `{' '.join(words)}` failed here:\n{done.stdout[-500:]}{done.stderr[-1500:]}"
            )

    def environment(self) -> Environment:
        return find_environment(self.environ, self.checkout, self.folder / "crew" / "environments" / "shop")

    def run(self, command: str, timeout_s: float = 300.0) -> CommandResult:
        """Run a command in the worktree, with the project's environment."""
        if self.sandbox is None:
            environment = self.environment()
            self.sandbox = project_sandbox(environment, SandboxPolicy(), self.worktree, user="engineer-1")
        return run_command(
            self.sandbox, command, worktree=self.worktree, timeout_s=timeout_s, shown_chars=50_000
        )

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file of the worktree, as an engineer does."""
        path = self.worktree / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    try:
        choose(SandboxPolicy(mode="bubblewrap"))
    except SandboxUnavailable as unavailable:
        pytest.skip(f"NO ENVIRONMENT TESTED: {unavailable}")
    made = Project(tmp_path)
    made.checkout.mkdir(parents=True)
    return made


def fingerprint(folder: Path) -> str:
    """A digest of all names, modes, links and contents below the folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        # Git's own record of a new worktree is the crew's.
        if "worktrees" in path.relative_to(folder).parts:
            continue
        status = path.lstat()
        digest.update(f"{path}\0{status.st_mode}\0".encode())
        if path.is_symlink():
            digest.update(os.fsencode(path.readlink()))
        elif path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def check_both_ways(project: Project, command: str, name: str, right: str, wrong: str) -> None:
    """The check passes in the untouched worktree, sees its change there, and leaves the checkout as it is."""
    before = fingerprint(project.checkout)
    untouched = project.run(command)
    assert untouched.ok, untouched.output
    project.edit(name, right, wrong)
    broken = project.run(command)
    assert broken.exit_code not in (None, 0, 126, 127), broken.output
    project.edit(name, wrong, right)
    assert project.run(command).ok
    assert fingerprint(project.checkout) == before
    status = git(project.worktree, "status", "--short")
    assert status == "", status
