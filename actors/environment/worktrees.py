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
    _last: tuple[int, int] | None = field(default=None)

    def sandbox(self, worktree: Path) -> Sandbox:
        """The sandbox for commands in `worktree`, which also gets the build folders that it lacks.

        Runs set-up if the worktree's manifests differ from those of the base commit and nobody has done so.
        Raises SetupFailed, SandboxError, WorkspaceError.
        """
        if self.fresh_caches and self._is_new(worktree):
            drop_caches(self.environment, self.user)
            self._sandboxes.clear()
        units = self._changed_units(worktree)
        keys = tuple(unit.key for unit in units)
        found = self._sandboxes.get(keys)
        environment = self.environment
        if units:
            results = [self._run(unit, worktree) for unit in units]
            environment = with_setup(environment, [result for result in results if result.needed])
        environment.warm(worktree)
        if found is None:
            found = project_sandbox(environment, self.base, user=self.user, unsafe=self.unsafe)
            self._sandboxes[keys] = found
        return found

    def manifests(self, worktree: Path) -> tuple[str, ...]:
        """The worktree's manifests; none if it is not a linked worktree."""
        git = _git(worktree)
        return () if git is None else find_manifests(git)

    def _is_new(self, worktree: Path) -> bool:
        """Whether the folder is another one than at the last call; a scratch worktree is made anew each time."""
        status = worktree.stat()
        identity = (status.st_dev, status.st_ino)
        is_new, self._last = identity != self._last, identity
        return is_new

    def _changed_units(self, worktree: Path) -> list[SetupUnit]:
        """What must be installed because it differs from the base. A probe would only see the old folders."""
        known = {unit.key for unit in self.environment.units}
        names = self.manifests(worktree)
        commands, checks = self.environment.setup_commands, self.environment.checks
        units = find_units(worktree, names, spec_commands=commands, checks=checks)
        changed = [unit for unit in units if unit.key not in known]
        return [replace(unit, probe=None) if unit.makes else unit for unit in changed]

    def _run(self, unit: SetupUnit, worktree: Path) -> SetupResult:
        git = _git(worktree)
        assert git is not None  # it has manifests
        runner = SetupRunner(
            environment=self.environment,
            base=self.base,
            repository=open_repository(Path(self.environment.checkout)),
            commit=git.line("rev-parse", "HEAD"),
            locks=self.locks,
            overlay=worktree,
            manifests=find_manifests(git),
            lasting=False,
            unsafe=self.unsafe,
            allow_network=self.allow_network,
            timeout_s=self.timeout_s,
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
