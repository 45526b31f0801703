"""The lock files of a host's slots: a process that holds the lock of `slot-N` may send one request to the host.

Each file says whose prompt is in the server's prefix cache from its last use, and until when the slot is reserved
for that agent.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from actors.model.protocol import Cost
from store.shared import file_lock

RESERVED_S = 0.15
MAX_TURNS = 4


@dataclass(slots=True)
class Slot:
    """A slot that this process holds. `turns`: how often in a row its agent has held it.

    The holder sets `cost`, which the server reported, and `expects_followup`: its next request will come soon.
    """

    number: int
    descriptor: int
    agent: str
    turns: int
    queue_ms: float = 0.0
    started_at: float = 0.0
    expects_followup: bool = False
    cost: Cost | None = None

    def close(self) -> None:
        """Give the slot back."""
        os.close(self.descriptor)


class SlotFiles:
    """The slot files of one host. Keeps nothing in memory, so threads and forks may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, agent: str, count: int, *, only_reserved: bool = False) -> Slot | None:
        """A free slot of the first `count`, the one that `agent` used last if possible; None if there is none.

        With `only_reserved` only a slot that is reserved for `agent`.
        """
        records = {number: self._record(number) for number in range(count)}
        now_ms = time.monotonic() * 1e3
        for number in sorted(records, key=lambda number: (records[number].agent != agent, number)):
            record = records[number]
            # A time further ahead comes from before a restart of the machine.
            is_reserved = now_ms < record.reserved_until_ms <= now_ms + RESERVED_S * 1e3
            is_mine = record.agent == agent
            if (is_reserved and not is_mine) or (only_reserved and not (is_reserved and is_mine)):
                continue
            descriptor = file_lock.try_acquire(self._path(number))
            if descriptor is not None:
                turns = record.turns + 1 if is_mine else 1
                _write(descriptor, _Record(agent, turns, 0))
                return Slot(number, descriptor, agent, turns)
        return None

    def reserve(self, slot: Slot) -> None:
        """Keep a slot for its agent for `RESERVED_S` after it is given back, `MAX_TURNS` times in a row at most."""
        if slot.turns < MAX_TURNS:
            until_ms = int((time.monotonic() + RESERVED_S) * 1e3)
            _write(slot.descriptor, _Record(slot.agent, slot.turns, until_ms))

    def holder(self, number: int) -> str | None:
        """The agent that holds a slot; None if it is free. A process that wants a free slot just then does not
        get it before its next poll."""
        return self._record(number).agent if file_lock.is_held(self._path(number)) else None

    def _record(self, number: int) -> _Record:
        try:
            agent, turns, reserved_until_ms = self._path(number).read_text().split()
            return _Record(agent, int(turns), int(reserved_until_ms))
        except (OSError, ValueError):
            return _Record("", 0, 0)

    def _path(self, number: int) -> Path:
        return self._folder / f"slot-{number}"


@dataclass(frozen=True, slots=True)
class _Record:
    """The content of a slot's file."""

    agent: str
    turns: int
    reserved_until_ms: int


def _write(descriptor: int, record: _Record) -> None:
    data = f"{record.agent} {record.turns} {record.reserved_until_ms}\n".encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)
