"""The exit record of a command: how it ended, readable even if its agent was killed meanwhile.

Two files beside the stored output, in a folder that commands cannot write:

- `<call>.status` grows while the command runs. We append "started" before the command may run, and "launching" before
  that where the command could run although we were killed in between. The sandbox's launcher appends the exit
  code, from outside of the sandbox.
- `<call>.exit.json` is the complete result, written atomically at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from store.shared.replace import replace_file

_KEPT_CALLS = 100


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How a command ended.

    `exit_code` is None if we killed it; `killed_for` is the reason. `duration_s` and `total_bytes` (of output)
    are None if the agent was killed before the end.
    """

    exit_code: int | None
    killed_for: str | None
    duration_s: float | None
    total_bytes: int | None

    @property
    def signal(self) -> int | None:
        """The signal that ended the command, from the shell's convention of exit code 128 + number."""
        return self.exit_code - 128 if self.exit_code is not None and 128 < self.exit_code <= 192 else None


@dataclass(frozen=True, slots=True)
class RecordFiles:
    """The paths of one call's files: its status, its complete record and its output."""

    status: Path
    final: Path
    output: Path

    @staticmethod
    def of(spill_dir: Path, call_id: str) -> RecordFiles:
        """The files of `call_id`, whose characters are made fit for a file name."""
        name = re.sub(r"[^A-Za-z0-9._-]", "_", call_id).lstrip(".")[:100]
        if name != call_id:
            # Two ids that become equal as file names must not share files.
            name = f"{name}-{hashlib.sha256(call_id.encode()).hexdigest()[:8]}"
        return RecordFiles(
            spill_dir / f"{name}.status", spill_dir / f"{name}.exit.json", spill_dir / f"{name}.out"
        )

    def open_status(self) -> int:
        """Create an empty status file and return its descriptor; an earlier run's record is deleted."""
        self.final.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self.status, flags, 0o600)

    def write_final(self, record: ExitRecord) -> None:
        """Store the complete record atomically."""
        replace_file(self.final, json.dumps(asdict(record)))


def append_status(status_fd: int, facts: Mapping[str, Any]) -> None:
    """Append `facts` to a status file as one JSON line, in a single write."""
    os.write(status_fd, json.dumps(facts).encode() + b"\n")


def read_record(files: RecordFiles) -> ExitRecord | None:
    """How the call ended, as far as it was recorded; None if no end was recorded or it never ran."""
    with suppress(OSError, ValueError, TypeError):
        return ExitRecord(**json.loads(files.final.read_text(encoding="utf-8")))
    facts = read_status(files)
    if "killed_for" in facts:
        return ExitRecord(None, str(facts["killed_for"]), None, None)
    if isinstance(facts.get("exit-code"), int) and "started" in facts:
        return ExitRecord(facts["exit-code"], None, None, None)
    return None


def may_have_started(files: RecordFiles) -> bool:
    """False only if it is certain that the command never ran."""
    return not {"launching", "started"}.isdisjoint(read_status(files))


def read_status(files: RecordFiles) -> dict[str, Any]:
    """All facts of the status file, without a line that a crash cut off; empty if there is no file."""
    facts: dict[str, Any] = {}
    try:
        content = files.status.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return facts
    # bubblewrap may spread a JSON document over several lines, so parse documents, not lines.
    decoder, position = json.JSONDecoder(), 0
    while (start := content.find("{", position)) >= 0:
        try:
            document, position = decoder.raw_decode(content, start)
        except ValueError:
            break
        facts.update(document)
    return facts


def prune(spill_dir: Path, keep: int = _KEPT_CALLS) -> None:
    """Delete the files of all but the newest `keep` calls."""
    try:
        found = sorted(spill_dir.glob("*.status"), key=lambda path: path.stat().st_mtime_ns)
    except OSError:
        return
    for status in found[:-keep]:
        stem = status.name.removesuffix(".status")
        for path in (status, *(spill_dir / f"{stem}{end}" for end in (".exit.json", ".out"))):
            path.unlink(missing_ok=True)
