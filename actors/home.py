"""Where everything of a crew lies: one private folder, so that removing it removes the crew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from store.errors import StoreUnwritable


@dataclass(frozen=True, slots=True)
class Home:
    """The crew's folder (`NIGHTCREW_HOME`, else the platform's user data folder) and the names in it."""

    path: Path

    @property
    def store(self) -> Path:
        return self.path / "crew.db"

    @property
    def run(self) -> Path:
        """Sockets, locks and whatever is of no use after a reboot."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def windows(self) -> Path:
        """The files that tmux windows show; rebuilt from the store at will."""
        return self.path / "windows"

    @property
    def roles(self) -> Path:
        """The user's own role files, which win over the shipped ones."""
        return self.path / "roles"

    @property
    def outputs(self) -> Path:
        """A folder per agent, see `spill`."""
        return self.path / "outputs"

    @property
    def backups(self) -> Path:
        """Copies of the store, one a night."""
        return self.path / "backups"

    @property
    def locks(self) -> Path:
        return self.run / "locks"

    @property
    def supervisor_lock(self) -> Path:
        return self.run / "supervisor.lock"

    def worktree(self, project: str, name: str) -> Path:
        """A task's (or a reviewer's) worktree."""
        return self.path / "work" / project / name

    def scratch(self, project: str) -> Path:
        """Where the gate merges and checks."""
        return self.path / "work" / project / "gate"

    def spill(self, agent: str) -> Path:
        """Long outputs and exit records of an agent's commands."""
        return self.outputs / safe(agent)

    def make(self) -> None:
        """Make the folders, private to the user. Raises `StoreUnwritable`."""
        try:
            for folder in (self.path, self.run, self.locks, self.logs, self.windows):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise StoreUnwritable(
                f"{error.filename}: {error.strerror}; make the crew's home writable or choose another with "
                "NIGHTCREW_HOME"
            ) from error


def model_folder(run_folder: Path, url: str) -> Path:
    """Where the gate and the breaker of a model host lie in a crew's run folder."""
    return run_folder / "model" / safe(url)


def safe(name: str) -> str:
    """An agent's name as a file name."""
    return re.sub(r"[^\w.-]", "_", name)
