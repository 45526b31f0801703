"""Room on the disks that work is written to: who is short of it waits, before the disk is full.

Each worker looks for itself before each step (a microsecond), so that nobody has to be told in time, by
messages that could not be written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MB = 1_000_000
EASE = 1.1  # work goes on with a tenth more than the limit, so that it does not stop and go


@dataclass(frozen=True, slots=True)
class Room:
    """What is left for us at `path`."""

    path: Path
    free_bytes: int


@dataclass(slots=True)
class RoomWatch:
    """Remembers whether it was low. `least_mb` 0 never is."""

    paths: Sequence[Path]
    least_mb: int
    short: Room | None = None

    def look(self) -> Room | None:
        """Where too little is left, None if there is enough. A path that is not there is not looked at."""
        limit = self.least_mb * MB * (EASE if self.short is not None else 1.0)
        rooms = [room for path in self.paths if self.least_mb and (room := room_at(path)) is not None]
        least = min(rooms, key=lambda room: room.free_bytes, default=None)
        self.short = least if least is not None and least.free_bytes < limit else None
        return self.short


def room_at(path: Path) -> Room | None:
    """What an ordinary user could still write there; None if nobody can tell."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return Room(path, found.f_bavail * found.f_frsize)
