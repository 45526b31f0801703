"""The tool shell: run one command line in the sandbox; after a crash, find out how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from actors.model.protocol import Parameter, ToolSpec
from actors.sandbox.launch.marks import kill_marked
from actors.sandbox.output import read_spilled
from actors.sandbox.policy import GIB, SandboxPolicy
from actors.sandbox.record import ExitRecord, RecordFiles, may_have_started, prune, read_record
from actors.sandbox.run import run_command
from actors.sandbox.usage import boot_id
from actors.tools.base import ToolContext, ToolRefused, ToolResult, text_argument, whole_number
from actors.tools.document import encodable

_SHOW_DURATION_FROM_S = 2.0
NO_NEW_ENTRIES = (
    "Commands cannot create, remove or rename anything in the top folder here; use write_file to create"
)
_PRUNE_EVERY_CALLS = 20  # listing all the records takes as long as a commit
# Linux limits one argument to 128 KiB.
_MAX_COMMAND_BYTES = 120_000


class Shell:
    """shell. A command's background processes end with it."""

    spec = ToolSpec(
        "shell",
        "Run a shell command in the worktree; returns its output and exit code. It cannot read input, and its "
        "background processes end with it. Git is read-only: the crew commits for you.",
        (
            Parameter("command", "string", "The command line for bash."),
            Parameter(
                "timeout_s",
                "integer",
                "Time limit in seconds (default: the project's configured limit).",
                required=False,
            ),
        ),
    )

    def __init__(self) -> None:
        self._calls = 0

    def intend(self, arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        if self._calls % _PRUNE_EVERY_CALLS == 0:
            prune(context.spill_dir)
        self._calls += 1
        return {"boot_id": boot_id()}

    def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        limits = context.limits
        try:
            command = encodable(text_argument(arguments, "command"))
            if not command.strip() or "\0" in command:
                raise ToolRefused(
                    "The command is empty or contains a NUL character. Use a command line for bash."
                )
            if len(command.encode()) > _MAX_COMMAND_BYTES:
                raise ToolRefused("The command is too long. To write a long text, use write_file.")
            default, most = int(limits.default_timeout_s), int(limits.max_timeout_s)
            timeout_s = whole_number(arguments, "timeout_s", default, 1, most)
        except ToolRefused as refused:
            return ToolResult(str(refused), ok=False)
        began = time.monotonic()
        sandbox, note = context.command_sandbox(timeout_s)
        # What installing dependencies took counts: the whole call must end within its limit.
        left_s = timeout_s - (time.monotonic() - began)
        if left_s <= 0:
            return ToolResult(
                f"{note}[stopped: installing changed dependencies took {timeout_s} s]", ok=False
            )
        result = run_command(
            sandbox,
            command,
            worktree=context.worktree,
            writable=context.writable,
            timeout_s=left_s,
            cancelled=context.cancelled,
            on_output=context.on_output,
            spill_dir=context.spill_dir,
            call_id=context.call_id,
            shown_chars=limits.max_output_chars,
        )
        record = ExitRecord(result.exit_code, result.killed_for, result.duration_s, result.total_bytes)
        return _result(record, note + result.output, context, f"the limit of {timeout_s} s")

    def settle(
        self, arguments: Mapping[str, Any], evidence: Mapping[str, Any], context: ToolContext
    ) -> ToolResult | None:
        """The result if the end was recorded; None if it certainly never started; otherwise "unknown"."""
        files = RecordFiles.of(context.spill_dir, context.call_id)
        if not context.sandbox.confines:
            # Without a sandbox it did not end with its agent, so it may still be running.
            kill_marked(str(files.status))
        record = read_record(files)
        output = read_spilled(files.output, context.limits.max_output_chars)
        if record is not None and record.total_bytes is not None:
            return _result(record, output, context, "its time limit")
        if record is not None:
            result = _result(record, output, context, "its time limit")
            return replace(
                result, text=f"{result.text}\n[the agent was restarted meanwhile; output may be missing]"
            )
        if not may_have_started(files) and evidence.get("boot_id") == boot_id():
            # Since the same boot a missing line is proof. After a power failure it may have been lost.
            return None
        text = (
            "Outcome unknown: the command may have started before it was interrupted. It is no longer running. "
            "Check what it did before you repeat it."
        )
        shown = f"\nIts output so far:\n{output}" if output else ""
        return ToolResult(text + shown, ok=False, outcome_unknown=True)


def _result(record: ExitRecord, output: str, context: ToolContext, limit: str) -> ToolResult:
    """The result for the model: the output, then one line about the end of the command."""
    body = output.rstrip("\n") or "(no output)"
    took = f" after {record.duration_s:.0f} s" if (record.duration_s or 0) >= _SHOW_DURATION_FROM_S else ""
    if record.killed_for is not None:
        ending = _reason(record.killed_for, context.sandbox.policy, limit)
    elif record.signal is not None:
        ending = f"exit code {record.exit_code}{took}: ended by signal {record.signal}"
    else:
        ending = f"exit code {record.exit_code}{took}"
        if record.exit_code and context.sandbox.mode == "landlock" and "Permission denied" in output:
            ending += f". {NO_NEW_ENTRIES}"
    return ToolResult(f"{body}\n[{ending}]", ok=record.exit_code == 0)


def _reason(killed_for: str, policy: SandboxPolicy, limit: str) -> str:
    reasons = {
        "timeout": f"stopped: it reached {limit}. If it needs more time, use a larger timeout_s",
        "cancelled": "stopped: the call was cancelled",
        "memory": f"stopped: it used more than {policy.memory_bytes / GIB:.1f} GiB of memory",
        "processes": f"stopped: it had more than {policy.max_processes} processes",
        "output": f"stopped: it wrote more than {policy.max_output_bytes:,} bytes. Limit its output",
    }
    return reasons.get(killed_for, f"stopped: {killed_for}")
