"""Sandboxes for worktrees of one project: with set-up of their own where a task changed dependencies."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from actors.environment.folders import find_manifests
from actors.environment.project import Environment, drop_caches, project_sandbox
from actors.environment.setup.result import SetupFailed, SetupResult, with_setup
from actors.environment.setup.run import SetupRunner
from actors.environment.setup.units import SetupUnit, find_units
from actors.git.command import Git
from actors.git.repository import open_repository
from actors.sandbox.git_paths import admin_folder
from actors.sandbox.policy import Sandbox, SandboxPolicy


@dataclass(slots=True)
class WorktreeSandboxes:
    """Gives the sandbox for a worktree. Used from one thread.

    - `base`: the crew's policy, without a project's. `user`: whose build caches are used.
    - `fresh_caches`: every new worktree starts with fresh copies of the build caches, so that nothing that
      one submission wrote there can influence the checks of the next.
    - `allow_network` and `timeout_s` are for set-up.
    """

    environment: Environment
    base: SandboxPolicy
    locks: Path
    user: str
    unsafe: bool = False
    fresh_caches: bool = False
    allow_network: bool = True
    timeout_s: float = 1800.0
    cancelled: threading.Event | None = None
    _sandboxes: dict[tuple[str, ...], Sandbox] = field(default_factory=dict)
    _failures: dict[tuple[str, ...], SetupFailed] = field(default_factory=dict)
    _last: tuple[int, int] | None = field(default=None)
    _seen: tuple[tuple[str, int, int], ...] = field(default=())
    _latest: Sandbox | None = field(default=None)

    def base_sandbox(self, worktree: Path) -> Sandbox:
        """The sandbox with the dependencies of the base commit, whatever the worktree's manifests say."""
        return project_sandbox(self.environment, self.base, worktree, user=self.user, unsafe=self.unsafe)

    def sandbox(self, worktree: Path, *, timeout_s: float | None = None) -> Sandbox:
        """The sandbox for commands in `worktree`, which also gets the build folders that it lacks.

        Runs set-up, within `timeout_s` if given, if the worktree's manifests differ from those of the base commit
        and nobody has done so. Costs little as long as no manifest changes; a new one is found when another
        changes. Raises SetupFailed (again without a new attempt), SandboxError, WorkspaceError.
        """
        is_new = self._is_new(worktree)
        if not is_new and self._latest is not None and self._signature(worktree) == self._seen:
            return self._latest
        if is_new:
            self._sandboxes.clear()
            self._failures.clear()
            if self.fresh_caches:
                drop_caches(self.environment, self.user)
        self._latest = None
        names = self.manifests(worktree)
        self._seen = tuple(
            (name, 0, 0) for name in dict.fromkeys((*names, *self.environment.folders.manifests))
        )
        self._seen = self._signature(worktree)
        self._latest = self._sandbox_for(worktree, names, timeout_s)
        return self._latest

    def _sandbox_for(self, worktree: Path, names: tuple[str, ...], timeout_s: float | None) -> Sandbox:
        units = self._changed_units(worktree, names)
        keys = tuple(unit.key for unit in units)
        if keys in self._failures:
            raise self._failures[keys]
        if keys not in self._sandboxes:
            try:
                results = [self._run(unit, worktree, names, timeout_s or self.timeout_s) for unit in units]
            except SetupFailed as failed:
                # One that ran out of time may succeed with more.
                if failed.result.exit_code is not None:
                    self._failures[keys] = failed
                raise
            environment = with_setup(self.environment, [result for result in results if result.needed])
            self._sandboxes[keys] = project_sandbox(
                environment, self.base, worktree, user=self.user, unsafe=self.unsafe
            )
        return self._sandboxes[keys]

    def _signature(self, worktree: Path) -> tuple[tuple[str, int, int], ...]:
        """Time and size of the manifests that were seen last."""
        found = []
        for name, _, _ in self._seen:
            try:
                status = (worktree / name).lstat()
                found.append((name, status.st_mtime_ns, status.st_size))
            except OSError:
                found.append((name, 0, -1))
        return tuple(found)

    def manifests(self, worktree: Path) -> tuple[str, ...]:
        """The worktree's manifests; none if it is not a linked worktree."""
        git = _git(worktree)
        return () if git is None else find_manifests(git)

    def _is_new(self, worktree: Path) -> bool:
        """Whether the folder is another one than at the last call; a scratch worktree is made anew each time."""
        # Inode numbers are used again, so the time at which the `.git` file was written counts too.
        try:
            status = (worktree / ".git").lstat()
            identity = (status.st_ino, status.st_mtime_ns)
        except OSError:
            identity = (0, 0)
        is_new, self._last = identity != self._last, identity
        return is_new

    def _changed_units(self, worktree: Path, names: tuple[str, ...]) -> list[SetupUnit]:
        """What must be installed because it differs from the base. A probe would only see the old folders."""
        known = {unit.key for unit in self.environment.units}
        commands, checks = self.environment.setup_commands, self.environment.checks
        units = find_units(worktree, names, spec_commands=commands, checks=checks)
        changed = [unit for unit in units if unit.key not in known]
        return [replace(unit, probe=None) if unit.makes else unit for unit in changed]

    def _run(self, unit: SetupUnit, worktree: Path, names: tuple[str, ...], timeout_s: float) -> SetupResult:
        git = _git(worktree)
        assert git is not None  # it has manifests
        runner = SetupRunner(
            environment=self.environment,
            base=self.base,
            repository=open_repository(Path(self.environment.checkout)),
            commit=git.line("rev-parse", "HEAD"),
            locks=self.locks,
            overlay=worktree,
            manifests=names,
            lasting=False,
            unsafe=self.unsafe,
            allow_network=self.allow_network,
            timeout_s=timeout_s,
            cancelled=self.cancelled,
        )
        result = runner.run(unit)
        if not result.ok:
            raise SetupFailed(result)
        return result


def _git(worktree: Path) -> Git | None:
    """git for a linked worktree of ours, whatever its `.git` file says; None for another folder."""
    admin = admin_folder(worktree)
    return None if admin is None else Git(worktree, git_dir=admin, work_tree=worktree)
