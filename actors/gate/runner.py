"""Runs one check in the sandbox and keeps its output as completely as possible."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from actors.environment.project import Environment, project_sandbox
from actors.gate.checks import CheckRun, Ending
from actors.gate.results.prepare import RECORDERS
from actors.sandbox.from_config import policy_of
from actors.sandbox.policy import Sandbox
from actors.sandbox.run import run_command
from actors.settings import Config

SHOWN_CHARACTERS = 400_000  # test counts are read from the output


@dataclass(slots=True)
class SandboxedChecks:
    """A `CheckRunner` that uses the sandbox and the project's environment. Setting `cancelled` ends a running check."""

    config: Config
    home: Path
    cancelled: threading.Event
    find_environment: Callable[[], Environment | None]
    _environment: Environment | None = field(default=None)
    _sandbox: Sandbox | None = field(default=None)

    def __call__(self, command: str, folder: Path, timeout_s: float) -> CheckRun:
        """Run one command. Raises `SandboxError` if it could not be started."""
        if self._sandbox is None:
            self._environment = self.find_environment()
            base, unsafe = policy_of(self.config, self.home), self.config.sandbox.mode == "off"
            self._sandbox = project_sandbox(self._environment, base, user="gate", unsafe=unsafe)
        if self._environment is not None:
            self._environment.warm(folder)
        result = run_command(
            self._sandbox,
            command,
            worktree=folder,
            timeout_s=timeout_s,
            cancelled=self.cancelled,
            shown_chars=SHOWN_CHARACTERS,
            read_only=(RECORDERS,),
        )
        if result.exit_code is not None:
            return CheckRun(command, result.exit_code, result.output, result.duration_s)
        ending: Ending = "timed_out" if result.timed_out else "killed"
        return CheckRun(command, -1, result.output, result.duration_s, ending)
