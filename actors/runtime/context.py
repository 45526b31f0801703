"""What an actor's process gives to its actor, and what the two threads of that process share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from actors.home import Home
from actors.runtime.signals import SignalPipe
from actors.runtime.wake import Waker
from actors.settings import Config
from store.engine import Fence, Store, Transaction

Effects = Callable[[Transaction], None]
"""Changes to the store, applied inside a transaction that the caller commits."""


def nothing(_tx: Transaction) -> None:
    """No effects."""


@dataclass(slots=True)
class Coupling:
    """Shared by the main thread, which receives wake-ups and signals, and the actor's thread, which works."""

    cancelled: threading.Event = field(default_factory=threading.Event)  # end the running step now
    stopping: threading.Event = field(default_factory=threading.Event)  # end the process after this step
    working: bool = False  # the actor's thread is handling its mailbox
    next_wake_at: float = 0.0  # UTC seconds at which the actor wants to run again if nothing wakes it before
    pipe: SignalPipe | None = None  # wakes the main thread, which then reads these fields again

    def stop(self) -> None:
        """Ask the process to end. Cannot be undone; a second call is harmless."""
        self.stopping.set()
        self.cancelled.set()
        self.notify()

    def sleep_until(self, at: float) -> None:
        """The actor has nothing to do before `at` (UTC seconds)."""
        self.next_wake_at = at
        self.notify()

    def notify(self) -> None:
        """Wake the main thread so that it reads these fields again; otherwise it keeps waiting with the old values."""
        if self.pipe is not None:
            self.pipe.wake()

    def rearm(self) -> None:
        """Clear the cancellation, unless the process is stopping.

        Called before the mailbox is read, because that read finds the urgent message that caused it.
        """
        self.cancelled.clear()
        if self.stopping.is_set():
            self.cancelled.set()


@dataclass(frozen=True, slots=True)
class Runtime:
    """An actor's identity, store, configuration and ways to reach others."""

    name: str
    generation: int
    home: Home
    config: Config
    store: Store
    waker: Waker
    coupling: Coupling = field(default_factory=Coupling)
    clock: Callable[[], float] = time.time

    @property
    def fence(self) -> Fence:
        """The fencing token of every write."""
        return Fence(self.name, self.generation)
