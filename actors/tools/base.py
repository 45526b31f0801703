"""The interface of the tools that work on a worktree: `intend`, `run`, and `settle` after a crash.

The agent stores the evidence from `intend()` before `run()`, and the result after it. If a restarted agent
finds an intent without a result, it calls `settle()`. So no call is blindly run a second time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from actors.errors import ActorError
from actors.model.protocol import ToolSpec
from actors.sandbox.policy import Sandbox


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """The limits of one call: how long a command may take, how much of a result the model sees."""

    default_timeout_s: float = 180.0
    max_timeout_s: float = 3_600.0
    max_output_chars: int = 10_000
    default_read_lines: int = 200
    max_read_lines: int = 500
    max_read_chars: int = 24_000
    max_file_bytes: int = 4 * 1024 * 1024


def _discard(_: str) -> None:
    """Ignore the live output: nobody watches."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """The surroundings of one call.

    - `spill_dir`: the agent's folder for whole outputs and exit records, outside of any worktree. Its commands
      can read it.
    - `call_id`: unique among the agent's calls, and the same after a restart.
    - `writable`: False for a reviewer.
    - `prepare`: gives the sandbox for a command, after installing dependencies that the task changed within that
      many seconds, and a note for the model, which is often empty.
    - `on_output`: receives a command's output live, from the calling thread.
    """

    worktree: Path
    sandbox: Sandbox
    spill_dir: Path
    call_id: str
    writable: bool = True
    cancelled: threading.Event = field(default_factory=threading.Event)
    prepare: Callable[[float], tuple[Sandbox, str]] | None = None
    on_output: Callable[[str], None] = _discard
    limits: ToolLimits = field(default_factory=ToolLimits)

    def command_sandbox(self, timeout_s: float) -> tuple[Sandbox, str]:
        """The sandbox for a command now, and a note for the model."""
        return (self.sandbox, "") if self.prepare is None else self.prepare(timeout_s)

    @property
    def shown_at(self) -> str | None:
        """The path at which commands see the worktree; None if it is the worktree's own."""
        workplace = self.sandbox.workplace
        return None if workplace is None else workplace.path


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The text for the model, and whether the call succeeded.

    `outcome_unknown`: the call was interrupted, and what it did could not be determined.
    """

    text: str
    ok: bool
    outcome_unknown: bool = False


class ToolRefused(ActorError):
    """A call with unusable input. Its text is for the model and becomes a `ToolResult(ok=False)`."""


class WorktreeTool(Protocol):
    """A tool that works on a worktree: shell, read_file, edit_file, write_file. Each agent has its own."""

    @property
    def spec(self) -> ToolSpec:
        """Name, description and parameters as the model sees them."""
        ...

    def intend(self, arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        """What must be stored before the call, to find out after a crash whether it happened.

        A JSON object that only `settle` of the same tool reads. Never raises for bad input. Must not use
        `context.call_id`, which may not be known yet.
        """
        ...

    def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Run the call. Bad input gives a result with `ok=False`. Raises SandboxError if the sandbox fails."""
        ...

    def settle(
        self, arguments: Mapping[str, Any], evidence: Mapping[str, Any], context: ToolContext
    ) -> ToolResult | None:
        """After a crash: find out from the stored evidence what the call did. None: run it again."""
        ...


def text_argument(arguments: Mapping[str, Any], name: str) -> str:
    """A required string argument. Raises ToolRefused."""
    value = arguments.get(name)
    if isinstance(value, str):
        return value
    if value is None:
        raise ToolRefused(f"The argument '{name}' is missing; it must be text.")
    raise ToolRefused(f"The argument '{name}' must be text, not {type(value).__name__}.")


def whole_number(arguments: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    """An optional whole number; one out of bounds becomes the nearest bound. Raises ToolRefused."""
    value = arguments.get(name)
    if value is None or value == "":
        return default
    try:
        number = int(float(value))
    except (TypeError, ValueError, OverflowError):
        raise ToolRefused(f"The argument '{name}' must be a whole number, not {value!r}.") from None
    return max(least, min(most, number))
