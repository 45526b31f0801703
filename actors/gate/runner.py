"""Runs one check in the sandbox and keeps its output as completely as possible."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from actors.environment.project import Environment, project_sandbox
from actors.environment.proof import explain, resolve_outside
from actors.environment.python_imports import own_programs
from actors.environment.setup.result import SetupFailed
from actors.environment.worktrees import WorktreeSandboxes
from actors.gate.checks import CheckRun, Ending
from actors.gate.results.prepare import RECORDERS
from actors.home import Home
from actors.sandbox.from_config import policy_of
from actors.sandbox.policy import Sandbox
from actors.sandbox.run import run_command
from actors.settings import Config

USER = "gate"
SHOWN_CHARACTERS = 400_000  # test counts are read from the output


@dataclass(slots=True)
class SandboxedChecks:
    """A `CheckRunner` that uses the sandbox and the project's environment. Setting `cancelled` ends a running check."""

    config: Config
    home: Home
    cancelled: threading.Event
    find_environment: Callable[[], Environment | None]
    _worktrees: WorktreeSandboxes | None = field(default=None)

    def __call__(self, command: str, folder: Path, timeout_s: float) -> CheckRun:
        """Run one command. Raises `SandboxError` if it could not be started.

        The check does not run if the project's own packages would be imported from elsewhere. A change of
        dependencies that cannot be installed fails it.
        """
        try:
            sandbox = self._sandbox_for(folder)
        except SetupFailed as failed:
            result = failed.result
            exit_code = result.exit_code or 1
            return CheckRun(command, exit_code, f"{failed}\n{result.output}", result.duration_s)
        programs = ""
        if self._worktrees is not None:
            # The lines before the last one set variables for the recorders of test results.
            own_line = command.splitlines()[-1] if command else ""
            programs = own_programs(sandbox, own_line)
            outside = resolve_outside(sandbox, folder, self._worktrees.manifests(folder), own_line)
            if outside:
                return CheckRun(command, -1, explain(outside), 0.0, "not_started")
        done = run_command(
            sandbox,
            programs + command,
            worktree=folder,
            timeout_s=timeout_s,
            cancelled=self.cancelled,
            shown_chars=SHOWN_CHARACTERS,
            read_only=(RECORDERS,),
        )
        if done.exit_code is not None:
            return CheckRun(command, done.exit_code, done.output, done.duration_s)
        ending: Ending = "timed_out" if done.timed_out else "killed"
        return CheckRun(command, -1, done.output, done.duration_s, ending)

    def _sandbox_for(self, folder: Path) -> Sandbox:
        """The sandbox for a worktree: by the worktree's dependencies where the project has an environment.

        The environment is read for each check: it changes when a project is prepared again.
        """
        base, unsafe = policy_of(self.config, self.home.path), self.config.sandbox.mode == "off"
        environment = self.find_environment()
        if environment is None:
            self._worktrees = None
            return project_sandbox(None, base, folder, user=USER, unsafe=unsafe)
        if self._worktrees is None or self._worktrees.environment != environment:
            self._worktrees = WorktreeSandboxes(
                environment,
                base,
                self.home.locks,
                USER,
                unsafe=unsafe,
                fresh_caches=True,
                allow_network=self.config.environment.network != "never",
                timeout_s=self.config.environment.setup_timeout_s,
                cancelled=self.cancelled,
            )
        return self._worktrees.sandbox(folder)
