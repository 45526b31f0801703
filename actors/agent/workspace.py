"""The files that an agent works on: the worktree of its task, or a view of the project, and its sandbox.

Both are made on first use.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from actors import log
from actors.environment.project import kept_environment
from actors.environment.setup.result import SetupFailed
from actors.environment.worktrees import WorktreeSandboxes
from actors.git.checkouts import checkout_scratch, ensure_worktree, open_worktree, remove_worktree
from actors.git.commits import commit_all, uncommitted_files
from actors.git.refs import head_of
from actors.git.repository import Repository, open_repository
from actors.git.worktree import Worktree
from actors.runtime.context import Runtime
from actors.sandbox.choose import choose
from actors.sandbox.from_config import policy_of
from actors.sandbox.policy import Sandbox
from actors.tools.base import ToolContext, ToolLimits
from store import crew, tasks
from store.rows import Project, Task
from store.shared.ref_names import task_label


@dataclass(frozen=True, slots=True)
class TaskFolder:
    """The worktree of a task, on the task's branch."""

    task: int
    worktree: Worktree
    path: Path


@dataclass(frozen=True, slots=True)
class View:
    """A checkout without a branch, removed at the end of the turn. Nothing in it is kept."""

    repository: Repository
    path: Path


class Workspace:
    """One agent's; used from its thread. At most one folder is open at a time."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._open: TaskFolder | View | None = None
        self._sandbox: Sandbox | None = None
        self._sandboxes: WorktreeSandboxes | None = None
        self._committed_at = time.monotonic()

    def is_ready(self, task: int | None) -> bool:
        """Whether a tool can run at once: the folder for `task` (None: a view) is open, the sandbox chosen."""
        return self._sandbox is not None and self._folder(task) is not None

    def _folder(self, task: int | None) -> Path | None:
        match self._open:
            case TaskFolder(task=opened, path=path) if opened == task:
                return path
            case View(path=path) if task is None:
                return path
        return None

    def _sandbox_of(self, folder: Path) -> Sandbox:
        """Chosen once for each folder that is opened. Raises `SandboxUnavailable`."""
        if self._sandbox is None and self._sandboxes is not None:
            self._sandbox = self._sandboxes.base_sandbox(folder)
        elif self._sandbox is None:
            config = self._runtime.config
            policy = policy_of(config, self._runtime.home.path)
            self._sandbox = choose(policy, unsafe=config.sandbox.mode == "off", probe=False)
        return self._sandbox

    def _prepared_sandbox(self, timeout_s: float) -> tuple[Sandbox, str]:
        """The sandbox for a command, after installing dependencies that the task changed, and a note on that."""
        assert self._open is not None  # a tool has its context only from an open folder
        folder = self._open.path
        if self._sandboxes is None:
            return self._sandbox_of(folder), ""
        try:
            self._sandbox = self._sandboxes.sandbox(folder, timeout_s=timeout_s)
        except SetupFailed as failed:
            return self._sandbox_of(folder), f"[{failed}]\n{failed.result.output}\n"
        return self._sandbox, ""

    # -- tasks ---------------------------------------------------------------------------------

    def open_task(self, task: Task) -> str:
        """Open the task's worktree, which is created or repaired first; returns the commit that it started from.

        A new branch starts at the task's `base_commit`, or else at the head of the integration branch.
        """
        project = crew.project(self._runtime.store, task.project)
        repository = open_repository(Path(project.repository))
        start = task.base_commit or head_of(repository, project.branch)
        path = self._task_path(task)
        worktree = ensure_worktree(repository, path, task.branch, start, locks=self._runtime.home.locks)
        self._use_environment(project)
        self._open = TaskFolder(task.id, worktree, path)
        self._committed_at = time.monotonic()
        return str(start)

    def worktree_of(self, task_id: int) -> Worktree:
        """The worktree of a task, opened if it is not open."""
        if not (isinstance(self._open, TaskFolder) and self._open.task == task_id):
            self.open_task(tasks.get(self._runtime.store, task_id))
        assert isinstance(self._open, TaskFolder)
        return self._open.worktree

    def close_task(self, task: Task) -> None:
        """Commit what is left in a task's worktree and remove the worktree. The branch stays."""
        project = crew.project(self._runtime.store, task.project)
        repository = open_repository(Path(project.repository))
        path, locks = self._task_path(task), self._runtime.home.locks
        self._open = None
        if path.exists():
            worktree = open_worktree(repository, path)
            commit_all(worktree, "Work left over when the task ended", locks=locks)
            uncommitted = uncommitted_files(worktree)
            if uncommitted:
                # Too large, or of another repository: no commit contains them, so the folder is kept.
                log.warning("worktree_kept", path=str(path), uncommitted=list(uncommitted))
                return
        remove_worktree(repository, path, locks=locks)

    def commit_if_due(self) -> str | None:
        """Commit unfinished work once `commit_minutes` have passed since the last time; returns the commit."""
        if not isinstance(self._open, TaskFolder):
            return None
        if time.monotonic() - self._committed_at < self._runtime.config.work.commit_minutes * 60:
            return None
        self._committed_at = time.monotonic()
        return commit_all(self._open.worktree, "Work in progress", locks=self._runtime.home.locks)

    def _task_path(self, task: Task) -> Path:
        return self._runtime.home.worktree(task.project, task_label(task.id))

    # -- views ---------------------------------------------------------------------------------

    @property
    def has_view(self) -> bool:
        """Whether a view is open."""
        return isinstance(self._open, View)

    def open_view(self, project: Project, commit: str | None) -> None:
        """Check out `commit`, or the head of the integration branch, for an agent without a task."""
        repository = open_repository(Path(project.repository))
        name = f"view-{self._runtime.name.split('.', maxsplit=1)[0]}"
        path = self._runtime.home.worktree(project.name, name)
        at = commit or head_of(repository, project.branch)
        checkout_scratch(repository, at, path, locks=self._runtime.home.locks)
        self._use_environment(project)
        self._open = View(repository, path)

    def close_view(self) -> None:
        """Remove the view. Harmless if none is open."""
        if isinstance(self._open, View):
            view, self._open = self._open, None
            remove_worktree(view.repository, view.path, locks=self._runtime.home.locks)

    # -- tools ---------------------------------------------------------------------------------

    def tool_context(self, task: int | None, call_id: str, *, writable: bool) -> ToolContext:
        """The surroundings of one call, in the folder for `task` (None: the view). Raises if it is not open."""
        folder = self._folder(task)
        if folder is None:
            raise LookupError(f"{self._runtime.name} has no open folder")
        shell_timeout_s = self._runtime.config.work.shell_timeout_s
        return ToolContext(
            worktree=folder,
            sandbox=self._sandbox_of(folder),
            prepare=self._prepared_sandbox,
            spill_dir=self._runtime.home.spill(self._runtime.name),
            call_id=call_id,
            writable=writable,
            cancelled=self._runtime.coupling.cancelled,
            limits=ToolLimits(default_timeout_s=shell_timeout_s),
        )

    def _use_environment(self, project: Project) -> None:
        """Use the project's environment as it is now: it changes when the project is prepared again."""
        config = self._runtime.config
        environment = kept_environment(self._runtime.store, project.name)
        self._sandbox = self._sandboxes = None
        if environment is not None:
            self._sandboxes = WorktreeSandboxes(
                environment,
                policy_of(config, self._runtime.home.path),
                self._runtime.home.locks,
                self._runtime.name,
                unsafe=config.sandbox.mode == "off",
                allow_network=config.environment.network != "never",
                cancelled=self._runtime.coupling.cancelled,
            )
