"""What every tool that touches the world is: a spec, an intent, a run, and a way to settle it after a crash.

The agent's loop stores `intend()`'s evidence before `run()` and the result after it. An intent that has no
outcome when the agent comes back goes to `settle()`, so nothing is run twice blindly.
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
    """How long a command may take and how much one result may show to the model."""

    default_timeout_s: float = 180.0
    max_timeout_s: float = 3_600.0
    max_output_chars: int = 10_000
    default_read_lines: int = 200
    max_read_lines: int = 500
    max_read_chars: int = 24_000
    max_file_bytes: int = 4 * 1024 * 1024


def _discard(_: str) -> None:
    """No one watches."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Where and for whom one call runs.

    `spill_dir` belongs to one agent, lies outside every worktree, and is readable in its sandbox: whole
    outputs and exit records go there. `call_id` is unique among that agent's calls and the same after a
    restart. `on_output` gets a command's output live, from the calling thread.
    """

    worktree: Path
    sandbox: Sandbox
    spill_dir: Path
    call_id: str
    writable: bool = True
    cancelled: threading.Event = field(default_factory=threading.Event)
    on_output: Callable[[str], None] = _discard
    limits: ToolLimits = field(default_factory=ToolLimits)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The text for the model, and whether the call succeeded.

    `outcome_unknown`: the call was interrupted, and what it did could not be determined.
    """

    text: str
    ok: bool
    outcome_unknown: bool = False


class ToolRefused(ActorError):
    """Input that a tool will not act on; the text is for the model, as a `ToolResult(ok=False)`."""


class WorldTool(Protocol):
    """Implemented by shell, read_file, edit_file and write_file. One set of instances per agent."""

    @property
    def spec(self) -> ToolSpec:
        """As the model sees it."""
        ...

    def intend(self, arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        """What must be stored before the run, to determine after a crash whether the call took effect.

        A JSON object that only `settle` of the same tool reads. It cannot depend on `context.call_id`, which may
        be unknown yet. Invalid arguments do not raise.
        """
        ...

    def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Do it. Bad input is a result with `ok=False`; only a broken sandbox raises (`SandboxError`)."""
        ...

    def settle(
        self, arguments: Mapping[str, Any], evidence: Mapping[str, Any], context: ToolContext
    ) -> ToolResult | None:
        """After a crash: the result that the stored evidence of `intend` gives, None if it is safe to run the call."""
        ...


def text_argument(arguments: Mapping[str, Any], name: str) -> str:
    """A required string argument. Raises ToolRefused with what is missing."""
    value = arguments.get(name)
    if isinstance(value, str):
        return value
    if value is None:
        raise ToolRefused(f"The argument '{name}' is missing; give it as text.")
    raise ToolRefused(f"The argument '{name}' must be text, not {type(value).__name__}.")


def whole_number(arguments: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    """An optional whole number within bounds; what lies outside is moved to the nearest bound."""
    value = arguments.get(name)
    if value is None or value == "":
        return default
    try:
        number = int(float(value))
    except (TypeError, ValueError, OverflowError):
        raise ToolRefused(f"The argument '{name}' must be a whole number, not {value!r}.") from None
    return max(least, min(most, number))
