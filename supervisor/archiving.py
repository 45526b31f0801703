"""Archives ended projects: commits what was left in their worktrees, removes them, and marks the rows."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

from actors.git.checkouts import open_worktree, remove_worktree
from actors.git.commits import commit_all
from actors.git.repository import open_repository
from actors.home import Home
from actors.work import lifecycle
from store import crew
from store.engine import Store
from store.rows import Project
from supervisor.errors import StillRunning
from supervisor.health import status


def archive(home: Home, store: Store, project: Project) -> None:
    """Archive an ended project; its branches, history and report stay. Raises `StillRunning`.

    After a crash it can be repeated: the rows are changed last.
    """
    found = status.holder(home)
    running = [
        agent.name
        for agent in crew.all_agents(store, project=project.name)
        if status.of_agent(agent, found)["pid"] is not None
    ]
    if running:
        raise StillRunning(
            f"{', '.join(running)} still running; try again in a moment, or see `nightcrew status`"
        )
    _remove_worktrees(home, project)
    with store.write() as tx:
        lifecycle.archive(tx, project.name, now=time.time())


def _remove_worktrees(home: Home, project: Project) -> None:
    """Commit uncommitted work to the branch of its task, then remove the folders."""
    shutil.rmtree(home.environment(project.name), ignore_errors=True)
    folder = home.path / "work" / project.name
    if not folder.is_dir():
        return
    if Path(project.repository).is_dir():
        repository = open_repository(Path(project.repository))
        for path in sorted(folder.iterdir()):
            if re.fullmatch(r"t\d+", path.name):
                worktree = open_worktree(repository, path)
                commit_all(worktree, "Work left over when the project was archived", locks=home.locks)
            remove_worktree(repository, path, locks=home.locks)
    shutil.rmtree(folder, ignore_errors=True)
