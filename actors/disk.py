"""Free space on the disks that the crew writes to: work pauses before a disk is full.

Each worker checks free space before each step, which takes a microsecond. A message about it could not be
stored on a full disk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MB = 1_000_000
RESUME_FACTOR = 1.1  # work resumes above the limit, so that it does not stop and start all the time


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """The bytes that an ordinary user can still write at `path`."""

    path: Path
    free_bytes: int


@dataclass(slots=True)
class DiskWatch:
    """Checks the disks of `paths` against a limit; `low` is the last result (None if `min_free_mb` is 0)."""

    paths: Sequence[Path]
    min_free_mb: int
    low: FreeSpace | None = None

    def check(self) -> FreeSpace | None:
        """The disk with too little space; None if all have enough. Paths that do not exist are skipped."""
        limit = self.min_free_mb * MB * (RESUME_FACTOR if self.low is not None else 1.0)
        spaces = [
            found for path in self.paths if self.min_free_mb and (found := free_space(path)) is not None
        ]
        least = min(spaces, key=lambda space: space.free_bytes, default=None)
        self.low = least if least is not None and least.free_bytes < limit else None
        return self.low


def free_space(path: Path) -> FreeSpace | None:
    """The free space at `path`; None if the system cannot say."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return FreeSpace(path, found.f_bavail * found.f_frsize)
