"""Runs one check in the sandbox and keeps its output as completely as possible."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from actors.agent.workspace import policy_of
from actors.gate.checks import CheckRun, Ending
from actors.sandbox.choose import choose
from actors.sandbox.policy import Sandbox
from actors.sandbox.run import run_command
from actors.settings import Config

SHOWN_CHARACTERS = 400_000  # test counts are read from the output


@dataclass(slots=True)
class SandboxedChecks:
    """A `CheckRunner` that uses the sandbox. Setting `cancelled` ends a running check."""

    config: Config
    home: Path
    cancelled: threading.Event
    _sandbox: Sandbox | None = field(default=None)

    def __call__(self, command: str, folder: Path, timeout_s: float) -> CheckRun:
        """Run one command. Raises `SandboxError` if it could not be started."""
        if self._sandbox is None:
            unsafe = self.config.sandbox.mode == "off"
            self._sandbox = choose(policy_of(self.config, self.home), unsafe=unsafe, probe=False)
        result = run_command(
            self._sandbox,
            command,
            worktree=folder,
            timeout_s=timeout_s,
            cancelled=self.cancelled,
            shown_chars=SHOWN_CHARACTERS,
        )
        if result.exit_code is not None:
            return CheckRun(command, result.exit_code, result.output, result.duration_s)
        ending: Ending = "timed_out" if result.timed_out else "killed"
        return CheckRun(command, -1, result.output, result.duration_s, ending)
