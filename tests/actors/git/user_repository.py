"""A user's repository, made with plain git, and a record of what must not change in it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from actors.gate.checks import CheckRun

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ursula User",
    "GIT_AUTHOR_EMAIL": "ursula@example.org",
    "GIT_COMMITTER_NAME": "Ursula User",
    "GIT_COMMITTER_EMAIL": "ursula@example.org",
}


class UserRepository:
    """Plain git in one folder, without the code under test."""

    def __init__(self, path: Path, *, files: dict[str, str] | None = None) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        if files:
            self.commit("First commit", files)

    def git(self, *args: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *args], cwd=cwd or self.path, env=ENVIRONMENT, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def write(self, files: dict[str, str]) -> None:
        write(self.path, files)

    def commit(self, message: str, files: dict[str, str]) -> str:
        self.write(files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def show(self, commit: str, path: str) -> str:
        return self.git("show", f"{commit}:{path}")

    def belongings(self) -> dict[str, str]:
        """Hashes of everything that belongs to the user: files, index, HEAD, config, stash, references."""
        found = {}
        for path in sorted(self.path.rglob("*")):
            relative = path.relative_to(self.path).as_posix()
            parts = relative.split("/")
            ours = parts[:2] in ([".git", "worktrees"], [".git", "objects"]) or "nightcrew" in parts
            if not ours and path.is_file():
                found[relative] = hashlib.sha256(path.read_bytes()).hexdigest()
        found["references"] = "\n".join(
            line for line in self.git("show-ref").splitlines() if "/nightcrew/" not in line
        )
        return found


def write(folder: Path, files: dict[str, str]) -> None:
    """Write text files below `folder`, creating missing folders."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def run_in_shell(command: str, cwd: Path, timeout_s: float) -> CheckRun:
    """Runs checks without a sandbox."""
    try:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=cwd,
            env={**ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return CheckRun(command, -9, (error.stdout or b"").decode(), timeout_s, "timed_out")
    return CheckRun(command, done.returncode, done.stdout.decode(), 0.1)
