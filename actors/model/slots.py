"""The fair gate before a model host: at most so many requests at once, over all processes of a crew.

A slot is a file, taken by flock: the kernel gives it back when its holder dies, whatever the way. Who
finds no free slot waits in line (`tickets.py`), ordered by the time at which it would be late: brief turns
(managers, QA, orchestrator) are late at once, long ones after `LONG_PATIENCE_S`. So brief turns go first,
and yet nobody who comes later than that is served before an engineer. There is no lock over the whole: a
process that is stopped while it waits is passed by, and one that is stopped with a slot in hand is found
by the supervisor's hang detection.

The agent whose prompt lies warm in a slot may have it again: the slot is kept for it for `WARM_S` while
others wait, at most `WARM_TURNS` times in a row, for a tool is often quicker than another's prefill.

    take a slot: free, and nobody in line -> at once
                 kept for me              -> at once
                 first in line            -> at the next release, or at the next look
                 not first                -> only if the first one lets a slot lie idle for two looks
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actors.model import capacity, tickets
from actors.model.errors import ModelCancelled

if TYPE_CHECKING:
    from actors.model.protocol import Cost

LONG_PATIENCE_S = 30.0
WARM_S = 0.15
WARM_TURNS = 4
TICK_S = 0.08  # the longest that a cancellation or a dead holder's slot goes unseen by the first in line
LOOK_S = 0.5  # how often those behind look whether all before them are dead or stopped


@dataclass(slots=True)
class Slot:
    """A slot in hand. `queue_ms`: how long it was waited for."""

    number: int
    descriptor: int
    turns: int
    queue_ms: float = 0.0
    began_at: float = 0.0
    comes_back: bool = False  # set by the holder: its next request follows soon
    cost: Cost | None = None  # set by the holder: what the server reported


@dataclass(frozen=True, slots=True)
class Crowd:
    """For people: how many slots a host has, whose requests have one, and whose wait.

    `in_line` is in the order of the line, by the names on the tickets: with `_` for a name's dot.
    """

    slots: int
    in_use_by: tuple[str, ...] = ()
    in_line: tuple[str, ...] = ()


class SlotGate:
    """The gate of one host. Holds nothing between uses: safe across threads and forks."""

    def __init__(self, folder: Path, slots: int) -> None:
        """`folder` is this host's in the crew's run folder; `slots` 0 learns the number from the replies."""
        self._folder = folder
        self._queue = folder / "queue"
        self._configured = slots

    @contextlib.contextmanager
    def slot(
        self,
        who: str,
        *,
        brief: bool,
        cancelled: threading.Event,
        on_wait: Callable[[float], None] = lambda _waited_s: None,
    ) -> Iterator[Slot]:
        """Wait for a slot and hold it for the block. `on_wait` is called at every look with the seconds
        waited so far. Raises `ModelCancelled` within 200 ms of `cancelled`."""
        started = time.monotonic()
        held = self._take_at_once(who) or self._wait_in_line(
            who, 0.0 if brief else LONG_PATIENCE_S, cancelled, on_wait
        )
        held.queue_ms = (time.monotonic() - started) * 1e3
        held.began_at = time.time()
        try:
            yield held
        finally:
            self._release(held, who)

    def capacity(self) -> int:
        """How many requests at once, as configured or as learnt so far."""
        return self._configured or capacity.read(self._folder / "capacity.json").slots

    def crowd(self) -> Crowd:
        """How it is now; for status. Each free slot is held for an instant: who wants it just then waits a tick."""
        slots = self.capacity()
        if not self._folder.is_dir():
            return Crowd(slots)  # nobody has asked this host yet
        in_use_by = tuple(self._note(number).who for number in range(slots) if not self._is_free(number))
        return Crowd(slots, in_use_by, tickets.names(self._queue))

    def _is_free(self, number: int) -> bool:
        # Shared: two that only look must not take each other for a holder.
        descriptor = self._lock(number, fcntl.LOCK_SH)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is not None

    # -- taking --------------------------------------------------------------------------------

    def _take_at_once(self, who: str) -> Slot | None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        nobody_waits = not tickets.waiting(self._queue)
        return self._take(who, only_kept=not nobody_waits)

    def _wait_in_line(
        self,
        who: str,
        patience_s: float,
        cancelled: threading.Event,
        on_wait: Callable[[float], None],
    ) -> Slot:
        started = time.monotonic()
        ticket = tickets.Ticket(self._queue, who, patience_s)
        next_look, ahead, idle_before = 0.0, "", ""
        try:
            while True:
                if cancelled.is_set():
                    raise ModelCancelled(f"{who} no longer waits for a model slot")
                now = time.monotonic()
                if now >= next_look:
                    next_look = now + LOOK_S
                    ahead = ticket.ahead() or ""
                    on_wait(now - started)
                    if ahead and (held := self._take_idle(who, passed_by=ahead == idle_before)):
                        if isinstance(held, Slot):
                            return held
                        idle_before = ahead
                    else:
                        idle_before = ""
                if not ahead and (slot := self._take(who)) is not None:
                    return slot
                if ticket.wait(TICK_S):
                    next_look = 0.0
        finally:
            ticket.close()
            # Whoever is first now may find a second free slot, or the one that we did not take.
            tickets.wake_first(self._queue)

    def _take_idle(self, who: str, *, passed_by: bool) -> Slot | bool:
        """Whether a slot is free although somebody is ahead; taken if that was so at the last look too."""
        held = self._take(who)
        if held is None or passed_by:
            return held or False
        os.close(held.descriptor)
        return True

    def _take(self, who: str, *, only_kept: bool = False) -> Slot | None:
        """A free slot, the one that is warm for `who` first; None if there is none."""
        notes = {number: self._note(number) for number in range(self.capacity())}
        now_ms = time.monotonic() * 1e3
        for number in sorted(notes, key=lambda number: (notes[number].who != who, number)):
            note = notes[number]
            is_kept = now_ms < note.kept_until_ms <= now_ms + WARM_S * 1e3
            if (only_kept or is_kept) and not (is_kept and note.who == who):
                continue
            descriptor = self._lock(number)
            if descriptor is not None:
                turns = note.turns + 1 if note.who == who else 1
                _write_note(descriptor, _Note(who, turns, 0))
                return Slot(number, descriptor, turns)
        return None

    def _lock(self, number: int, how: int = fcntl.LOCK_EX) -> int | None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path(number), flags, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    # -- giving back ---------------------------------------------------------------------------

    def _release(self, held: Slot, who: str) -> None:
        more = tickets.waiting(self._queue) > 0
        if more and held.comes_back and held.turns < WARM_TURNS:
            _write_note(held.descriptor, _Note(who, held.turns, int((time.monotonic() + WARM_S) * 1e3)))
        if not self._configured and held.cost is not None:
            self._learn(held, held.cost, more)
        os.close(held.descriptor)
        if more:
            tickets.wake_first(self._queue)

    def _learn(self, held: Slot, cost: Cost, more: bool) -> None:
        path = self._folder / "capacity.json"
        known = capacity.read(path)
        waited_ms = capacity.waited_in_server_ms(cost)
        now = time.time()
        learnt = capacity.learn(known, began_at=held.began_at, now=now, waited_ms=waited_ms, more=more)
        if learnt != known:
            capacity.write(path, learnt)

    def _path(self, number: int) -> Path:
        return self._folder / f"slot-{number}"

    def _note(self, number: int) -> _Note:
        try:
            who, turns, kept_until_ms = self._path(number).read_text().split()
            return _Note(who, int(turns), int(kept_until_ms))
        except (OSError, ValueError):
            return _Note("", 0, 0)


@dataclass(frozen=True, slots=True)
class _Note:
    """In a slot's file: whose prompt is warm there, its turns in a row, and until when it is kept for it."""

    who: str
    turns: int
    kept_until_ms: int


def _write_note(descriptor: int, note: _Note) -> None:
    data = f"{note.who} {note.turns} {note.kept_until_ms}\n".encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)
