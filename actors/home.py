"""The paths of a crew's files. All are in one private folder; deleting it deletes the crew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from store.errors import StoreUnwritable


@dataclass(frozen=True, slots=True)
class Home:
    """The crew's folder (`NIGHTCREW_HOME`, or the platform's user data folder) and the paths in it."""

    path: Path

    @property
    def store(self) -> Path:
        """The database."""
        return self.path / "crew.db"

    @property
    def run(self) -> Path:
        """Sockets, locks and other files that have no use after a reboot."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """The log files."""
        return self.path / "logs"

    @property
    def windows(self) -> Path:
        """The files that tmux windows show. They can be rebuilt from the store."""
        return self.path / "windows"

    @property
    def roles(self) -> Path:
        """The user's own role files, which override the packaged ones."""
        return self.path / "roles"

    @property
    def outputs(self) -> Path:
        """Outputs and exit records of commands, in a folder per agent (see `spill`)."""
        return self.path / "outputs"

    @property
    def backups(self) -> Path:
        """Backups of the database, one per night."""
        return self.path / "backups"

    @property
    def locks(self) -> Path:
        """Lock files for repositories and worktrees."""
        return self.run / "locks"

    @property
    def supervisor_lock(self) -> Path:
        """The lock that a running supervisor holds."""
        return self.run / "supervisor.lock"

    def worktree(self, project: str, name: str) -> Path:
        """The worktree of a task or a reviewer."""
        return self.path / "work" / project / name

    def scratch(self, project: str) -> Path:
        """The worktree in which the gate runs checks on merges."""
        return self.path / "work" / project / "gate"

    def environment(self, project: str) -> Path:
        """What the crew keeps for the commands of a project: caches, and what set-up installs."""
        return self.path / "environments" / project

    def spill(self, agent: str) -> Path:
        """Outputs and exit records of an agent's commands."""
        return self.outputs / file_name(agent)

    def make(self) -> None:
        """Create the folders, private to the user. Raises `StoreUnwritable`."""
        try:
            for folder in (self.path, self.run, self.locks, self.logs, self.windows):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise StoreUnwritable(
                f"{error.filename}: {error.strerror}; make the crew's folder writable or choose another with "
                "NIGHTCREW_HOME"
            ) from error


def model_folder(run_folder: Path, url: str) -> Path:
    """The folder for the shared state of a model host: its slots and its circuit breaker."""
    return run_folder / "model" / file_name(url)


def file_name(name: str) -> str:
    """`name` (an agent's, or an address) with every character replaced that may not be in a file name."""
    return re.sub(r"[^\w.-]", "_", name)
