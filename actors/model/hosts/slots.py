"""The slots of a host: a fair limit on the requests that the processes of a crew send to it at the same time.

A slot is a file with a lock, which the kernel releases when its holder dies. An agent that finds no free slot waits
in a queue (`tickets.py`), ordered by deadline. The deadline of brief turns (manager, QA, orchestrator) is now, that
of other turns is `LONG_PATIENCE_S` later: brief turns go first, but no engineer waits behind requests that came
later than its deadline. No lock covers the queue as a whole, so a stopped process is passed over. A process that
is stopped while it holds a slot is detected by the supervisor's check for unresponsive processes.

The server still has the prompt of a slot's last user in its prefix cache. If others wait, the slot is reserved for
that agent for a moment, because its next tool call often takes less time than another agent's
prefill (the server's reading of a prompt before it generates).

    a slot is free, and nobody waits     -> taken at once
    a slot is reserved for this agent    -> taken at once
    first in the queue                   -> taken at the next release, or at the next poll
    not first                            -> taken only if the first leaves a slot unused for two checks
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.model.errors import ModelCancelled
from actors.model.hosts import capacity, tickets
from actors.model.hosts.slot_files import Slot, SlotFiles

LONG_PATIENCE_S = 30.0
POLL_S = 0.08  # the longest until the first in the queue notices a cancellation or a dead holder
CHECK_QUEUE_S = 0.5  # how often the others check whether the processes ahead of them are dead or stopped


@dataclass(frozen=True, slots=True)
class SlotUsage:
    """The use of a host's slots, for people. `waiting` is in the queue's order, with `_` for a name's dot."""

    slots: int
    in_use_by: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


class Slots:
    """The slots of one host. Keeps nothing in memory, so threads and forks may share it."""

    def __init__(self, folder: Path, slots: int) -> None:
        """`folder` is the host's folder in the crew's run folder; with `slots` 0 the number is learned."""
        self._folder = folder
        self._queue = folder / "queue"
        self._files = SlotFiles(folder)
        self._configured = slots

    @contextlib.contextmanager
    def acquire(
        self,
        agent: str,
        *,
        is_brief: bool,
        cancelled: threading.Event,
        on_wait: Callable[[float], None] = lambda _waited_s: None,
    ) -> Iterator[Slot]:
        """Wait for a slot and hold it within the block.

        `on_wait` is called at every check of the queue with the seconds waited so far. Raises `ModelCancelled`
        within 200 ms after `cancelled` is set.
        """
        started = time.monotonic()
        slot = self._take_at_once(agent)
        if slot is None:
            patience_s = 0.0 if is_brief else LONG_PATIENCE_S
            slot = self._wait(agent, patience_s, cancelled, on_wait)
        slot.queue_ms = (time.monotonic() - started) * 1e3
        slot.started_at = time.time()
        try:
            yield slot
        finally:
            self._release(slot)

    def capacity(self) -> int:
        """The number of slots, as configured or as learned so far."""
        return self._configured or capacity.read(self._folder / "capacity.json").slots

    def usage(self) -> SlotUsage:
        """Who holds the slots and who waits. Takes no slot, but see `SlotFiles.holder`."""
        slots = self.capacity()
        if not self._folder.is_dir():
            return SlotUsage(slots)  # no agent has used this host yet
        holders = (self._files.holder(number) for number in range(slots))
        in_use_by = tuple(holder for holder in holders if holder is not None)
        return SlotUsage(slots, in_use_by, tickets.agents(self._queue))

    def _take_at_once(self, agent: str) -> Slot | None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        others_wait = tickets.count(self._queue) > 0
        return self._files.take(agent, self.capacity(), only_reserved=others_wait)

    def _wait(
        self, agent: str, patience_s: float, cancelled: threading.Event, on_wait: Callable[[float], None]
    ) -> Slot:
        started = time.monotonic()
        ticket = tickets.Ticket(self._queue, agent, patience_s)
        ahead: str | None = None
        idle: str | None = None  # the ticket ahead that left a slot unused at the last check
        next_check = 0.0
        try:
            while not cancelled.is_set():
                now = time.monotonic()
                is_check = now >= next_check
                if is_check:
                    next_check = now + CHECK_QUEUE_S
                    ahead = ticket.ahead()
                    on_wait(now - started)
                if ahead is None or is_check:
                    slot = self._files.take(agent, self.capacity())
                    if slot is not None and ahead in (None, idle):
                        return slot
                    idle = ahead if slot is not None else None
                    if slot is not None:
                        slot.close()
                if ticket.wait(POLL_S):
                    next_check = 0.0
        finally:
            ticket.close()
            # The process that is first now may find another free slot, or the one that was not taken here.
            tickets.wake_first(self._queue)
        raise ModelCancelled(f"{agent} no longer waits for a model slot")

    def _release(self, slot: Slot) -> None:
        others_wait = tickets.count(self._queue) > 0
        if others_wait and slot.expects_followup:
            self._files.reserve(slot)
        if not self._configured and slot.cost is not None:
            self._learn(slot, capacity.queued_in_server_ms(slot.cost), others_wait)
        slot.close()
        if others_wait:
            tickets.wake_first(self._queue)

    def _learn(self, slot: Slot, queued_ms: float | None, others_wait: bool) -> None:
        path = self._folder / "capacity.json"
        known = capacity.read(path)
        learned = capacity.learn(
            known,
            started_at=slot.started_at,
            now=time.time(),
            queued_ms=queued_ms,
            others_wait=others_wait,
        )
        if learned != known:
            capacity.write(path, learned)
