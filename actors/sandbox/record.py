"""The exit record of a command: what is still known about it when its agent was killed.

Two files beside the spilled output, in a folder that commands can't write. `<call>.status` is appended to
while the command lives: "started" by us before it may run, its exit code by bubblewrap itself, outside of the
sandbox. `<call>.exit.json` is the whole result, put there in one go when everything is known.
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

_KEPT_CALLS = 100


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How a command ended. `exit_code` is None if we killed it, `killed_for` says why; seconds, bytes."""

    exit_code: int | None
    killed_for: str | None
    duration_s: float | None
    total_bytes: int | None

    @property
    def signal(self) -> int | None:
        """The signal it died of, by the shell's convention of 128 + number."""
        return self.exit_code - 128 if self.exit_code is not None and 128 < self.exit_code <= 192 else None


@dataclass(frozen=True, slots=True)
class RecordFiles:
    """The three files of one call."""

    status: Path
    final: Path
    output: Path

    @staticmethod
    def of(spill_dir: Path, call_id: str) -> RecordFiles:
        name = re.sub(r"[^A-Za-z0-9._-]", "_", call_id).lstrip(".")[:100]
        if name != call_id:
            # Two ids must not share files only because they look alike when made fit for a name.
            name = f"{name}-{hashlib.sha256(call_id.encode()).hexdigest()[:8]}"
        return RecordFiles(
            spill_dir / f"{name}.status", spill_dir / f"{name}.exit.json", spill_dir / f"{name}.out"
        )

    def open_status(self) -> int:
        """A new status file, open for appending. What an earlier run of the call left is dropped."""
        self.final.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self.status, flags, 0o600)

    def write_final(self, record: ExitRecord) -> None:
        """Whole or not at all."""
        draft = self.final.with_name(f"{self.final.name}.draft")
        draft.write_text(json.dumps(asdict(record)), encoding="utf-8")
        draft.replace(self.final)


def note(status_fd: int, facts: Mapping[str, Any]) -> None:
    """Append facts to a status file, in one write."""
    os.write(status_fd, json.dumps(facts).encode() + b"\n")


def read_record(files: RecordFiles) -> ExitRecord | None:
    """How the call ended, as far as it was seen; None if its end was not seen (or it never ran)."""
    with suppress(OSError, ValueError, TypeError):
        return ExitRecord(**json.loads(files.final.read_text(encoding="utf-8")))
    facts = read_status(files)
    if "killed_for" in facts:
        return ExitRecord(None, str(facts["killed_for"]), None, None)
    if isinstance(facts.get("exit-code"), int) and "started" in facts:
        return ExitRecord(facts["exit-code"], None, None, None)
    return None


def read_status(files: RecordFiles) -> dict[str, Any]:
    """All facts of the status file; a line torn by the crash is left out. Empty if there is no file."""
    facts: dict[str, Any] = {}
    try:
        content = files.status.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return facts
    # bubblewrap may break its documents over lines, so they are read one after the other.
    decoder, position = json.JSONDecoder(), 0
    while (start := content.find("{", position)) >= 0:
        try:
            document, position = decoder.raw_decode(content, start)
        except ValueError:
            break
        facts.update(document)
    return facts


def prune(spill_dir: Path, keep: int = _KEPT_CALLS) -> None:
    """Drop the oldest calls' files; called now and then by whoever owns the folder."""
    try:
        found = sorted(spill_dir.glob("*.status"), key=lambda path: path.stat().st_mtime_ns)
    except OSError:
        return
    for status in found[:-keep]:
        stem = status.name.removesuffix(".status")
        for path in (status, *(spill_dir / f"{stem}{end}" for end in (".exit.json", ".out"))):
            path.unlink(missing_ok=True)
