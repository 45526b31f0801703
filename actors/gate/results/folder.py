"""The result folder of one command: new and with an unguessable name. It is deleted after it was read."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from actors.gate.results.junit import read_junit
from actors.gate.results.outcomes import TestOutcomes, merged
from actors.gate.results.recorded import read_recorded

PREFIX = ".nightcrew-results-"
MAX_FILE_BYTES = 20_000_000
MAX_FILES = 2_000
MAX_FOLDERS = 20_000

# Report files that build tools write by default: (end of the folder's path, name prefix, name suffix, runner).
_REPORTS = (
    ("target/surefire-reports", "TEST-", ".xml", "maven"),
    ("target/failsafe-reports", "TEST-", ".xml", "maven"),
    ("build/test-results/", "TEST-", ".xml", "gradle"),
    ("meson-logs", "testlog", ".junit.xml", "meson"),
    ("TestResults", "", ".trx", "dotnet"),
)
_BUILD_FILES = (
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "settings.gradle",
    "settings.gradle.kts",
    "meson.build",
)


@dataclass(slots=True)
class ResultFolder:
    """Make one before each command, `read` it afterwards, then `remove` it."""

    worktree: Path
    name: str = field(default_factory=lambda: PREFIX + secrets.token_hex(12))
    key: str = field(default_factory=lambda: secrets.token_hex(24))
    _old_reports: frozenset[tuple[str, int]] = frozenset()

    def make(self) -> None:
        """Create the folder, and remember which reports exist already."""
        (self.worktree / self.name).mkdir(mode=0o700)
        self._old_reports = frozenset((str(path), changed) for path, _, changed in self._reports())

    def read(self) -> TestOutcomes:
        """All outcomes that the command left, from regular files only and within limits."""
        parts = []
        for path in _files_in(self.worktree / self.name):
            if path.name.endswith(".jsonl"):
                data = _read_regular(path)
                parts.append(read_recorded(data or b"", self.key))
        for path, runner, changed in self._reports():
            if (str(path), changed) not in self._old_reports:
                parts.append(read_junit(_read_regular(path) or b"", runner))
        return merged(parts)

    def remove(self) -> None:
        """Delete the folder's files. Folders that the command created in it are deleted with the worktree."""
        folder = self.worktree / self.name
        for path in _files_in(folder):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()

    def _reports(self) -> Iterator[tuple[Path, str, int]]:
        """(path, runner, time of change in ns) of the reports that build tools write."""
        if not _has_build_files(self.worktree):
            return
        for number, (folder, folders, files) in enumerate(os.walk(self.worktree, followlinks=False)):
            if number > MAX_FOLDERS:
                return
            folders[:] = [name for name in folders if name not in (".git", "node_modules", "src")]
            where = Path(folder).relative_to(self.worktree).as_posix() + "/"
            for end, first, last, runner in _REPORTS:
                if end not in where:
                    continue
                for name in files[:MAX_FILES]:
                    if name.startswith(first) and name.endswith(last):
                        path = Path(folder, name)
                        yield path, runner, path.lstat().st_mtime_ns


def _has_build_files(worktree: Path) -> bool:
    names = {entry.name for entry in os.scandir(worktree)}
    return not names.isdisjoint(_BUILD_FILES) or any(name.endswith((".sln", ".csproj")) for name in names)


def _files_in(folder: Path) -> list[Path]:
    if folder.is_symlink() or not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        files = [Path(entry.path) for entry in entries if not entry.is_dir(follow_symlinks=False)]
    return sorted(files)[:MAX_FILES]


def _read_regular(path: Path) -> bytes | None:
    """The content of a regular file; None for a link, a device, a pipe, or a file that is too large."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            return None
        return file.read(MAX_FILE_BYTES)
