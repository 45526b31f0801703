"""What an agent's hands work on: its worktree and its sandbox, made on first use."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from actors import log
from actors.environment.project import Environment, kept_environment, project_sandbox
from actors.git.checkouts import checkout_scratch, ensure_worktree, open_worktree, remove_worktree
from actors.git.commits import commit_all, uncommitted_files
from actors.git.refs import head_of
from actors.git.repository import Repository, open_repository
from actors.git.worktree import Worktree
from actors.runtime.context import Runtime
from actors.sandbox.from_config import policy_of
from actors.sandbox.policy import Sandbox
from actors.tools.base import ToolContext, ToolLimits
from store.rows import Project, Task
from store.shared.ref_names import task_label


@dataclass(slots=True)
class Workbench:
    """One agent's; used from its own thread."""

    runtime: Runtime
    on_output: Callable[[str], None]
    worktree: Worktree | None = None
    folder: Path | None = None
    _sandbox: Sandbox | None = field(default=None)
    _environment: Environment | None = field(default=None)
    _committed_at: float = field(default_factory=time.monotonic)

    @property
    def is_ready(self) -> bool:
        """Whether a tool can be run at once: the folder is there and the sandbox was chosen."""
        return self.folder is not None and self._sandbox is not None

    @property
    def sandbox(self) -> Sandbox:
        """Chosen once; the supervisor has tried it at its start. Raises `SandboxUnavailable`."""
        if self._sandbox is None:
            config = self.runtime.config
            self._sandbox = project_sandbox(
                self._environment,
                policy_of(config, self.runtime.home.path),
                user=self.runtime.name,
                unsafe=config.sandbox.mode == "off",
            )
        return self._sandbox

    def open_task(self, project: Project, task: Task) -> str:
        """The task's own worktree and branch, made or mended; returns the commit it started from."""
        repository = self._repository(project)
        start = task.base_commit or head_of(repository, project.branch)
        path = self.runtime.home.worktree(project.name, task_label(task.id))
        self.worktree = ensure_worktree(repository, path, task.branch, start, locks=self.runtime.home.locks)
        self._warm(project, path)
        self.folder = path
        self._committed_at = time.monotonic()
        return str(start)

    def open_view(self, project: Project, commit: str | None, name: str) -> None:
        """A detached copy to look at (and for QA to run): of `commit`, or of the integration branch."""
        repository = self._repository(project)
        at = commit or head_of(repository, project.branch)
        path = self.runtime.home.worktree(project.name, name)
        checkout_scratch(repository, at, path, locks=self.runtime.home.locks)
        self._warm(project, path)
        self.worktree, self.folder = None, path

    def _warm(self, project: Project, path: Path) -> None:
        """Use the project's environment as it is now, and give the worktree its build folders."""
        environment = kept_environment(self.runtime.store, project.name)
        if environment != self._environment:
            self._environment, self._sandbox = environment, None
        if environment is not None:
            environment.warm(path)

    def close_view(self, project: Project, name: str) -> None:
        """Remove what `open_view` made."""
        path = self.runtime.home.worktree(project.name, name)
        remove_worktree(self._repository(project), path, locks=self.runtime.home.locks)
        self.folder = None

    def _repository(self, project: Project) -> Repository:
        return open_repository(Path(project.repository))

    def close_task(self, project: Project, task: Task) -> None:
        """After its end: what was not committed is, and the folder goes; the branch stays."""
        repository = self._repository(project)
        path = self.runtime.home.worktree(project.name, task_label(task.id))
        if path.exists():
            worktree = open_worktree(repository, path)
            commit_all(worktree, "Work left over when the task ended", locks=self.runtime.home.locks)
            uncommitted = uncommitted_files(worktree)
            if uncommitted:
                # Too large, or no part of this repository: no commit has it, so the folder stays.
                log.warning("worktree_kept", path=str(path), uncommitted=list(uncommitted))
                self.worktree = self.folder = None
                return
        remove_worktree(repository, path, locks=self.runtime.home.locks)
        self.worktree = self.folder = None

    def commit_if_due(self) -> str | None:
        """A commit by code, at the latest every `commit_minutes` of work; the commit, if there was one."""
        if self.worktree is None:
            return None
        if time.monotonic() - self._committed_at < self.runtime.config.work.commit_minutes * 60:
            return None
        self._committed_at = time.monotonic()
        return commit_all(self.worktree, "Work in progress", locks=self.runtime.home.locks)

    def tool_context(self, call_id: str, *, writable: bool) -> ToolContext:
        """For one call of a world tool."""
        if self.folder is None:
            raise LookupError("there is no folder to work in")
        shell_timeout_s = self.runtime.config.work.shell_timeout_s
        return ToolContext(
            worktree=self.folder,
            sandbox=self.sandbox,
            spill_dir=self.runtime.home.spill(self.runtime.name),
            call_id=call_id,
            writable=writable,
            cancelled=self.runtime.coupling.cancelled,
            on_output=self.on_output,
            limits=ToolLimits(default_timeout_s=shell_timeout_s),
        )
