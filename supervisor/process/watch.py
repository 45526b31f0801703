"""The supervisor's main thread: one selector over exits, control sockets, signals and the wake socket.

It turns what it observes into events for the supervisor's other thread. Only one thing is done here: an
unresponsive child is killed, because the other thread may be waiting for the lock that the child holds.
"""

from __future__ import annotations

import contextlib
import queue
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from actors import log
from actors.runtime.signals import SignalPipe
from actors.runtime.wake import WakeSocket
from supervisor.process.launch import Process
from supervisor.process.unresponsive import UnresponsiveSearch

TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class ChildReady:
    """A child has recovered and takes messages."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class ChildExited:
    """A child has ended and must be reaped."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class ChildUnresponsive:
    """An unresponsive child was killed. Its `ChildExited` follows."""

    name: str
    pid: int
    reason: str


@dataclass(frozen=True, slots=True)
class MailboxChanged:
    """The supervisor may have a new message."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Sent once a second, and earlier if `tick_by` requested it: run the work that is due."""


@dataclass(frozen=True, slots=True)
class StopAll:
    """Stop everything in order, and end."""


Event = ChildReady | ChildExited | ChildUnresponsive | MailboxChanged | Tick | StopAll


@dataclass(slots=True)
class Watch:
    """Made and run on the main thread. `add`, `tick_by` and `end` may be called from any thread."""

    wake: WakeSocket
    unresponsive: UnresponsiveSearch
    tell: Callable[[Event], None] = field(default=lambda _event: None)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _added: queue.SimpleQueue[Process] = field(default_factory=queue.SimpleQueue)
    _next_tick_at: float = 0.0
    _signals: SignalPipe | None = None
    _watched: dict[int, Process] = field(default_factory=dict)
    _reported: set[int] = field(default_factory=set)
    _ended: bool = False

    def open(self) -> None:
        """Register the wake socket and the signal pipe, and take over TERM, INT and HUP of this process."""
        self._signals = SignalPipe(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        self._selector.register(self._signals, selectors.EVENT_READ, self._on_signal)
        self._selector.register(self.wake, selectors.EVENT_READ, self._on_wake)

    def add(self, process: Process) -> None:
        """Watch a process from now on."""
        self._added.put(process)
        self._interrupt_select()

    def tick_by(self, at: float) -> None:
        """Tick no later than `at` (monotonic seconds)."""
        if at < self._next_tick_at:
            self._next_tick_at = at
            self._interrupt_select()

    def end(self) -> None:
        """Have `run` return; a second call is harmless."""
        self._ended = True
        self._interrupt_select()

    def _interrupt_select(self) -> None:
        if self._signals is not None:
            self._signals.wake()

    def run(self) -> None:
        """Observe and report events until `end` is called."""
        while not self._ended:
            now = time.monotonic()
            if now >= self._next_tick_at:
                self._next_tick_at = now + TICK_S
                self.tell(Tick())
                self._kill_unresponsive(now)
            for key, _ in self._selector.select(max(0.0, self._next_tick_at - time.monotonic())):
                key.data()
            while not self._added.empty():
                self._register(self._added.get())

    def _kill_unresponsive(self, now: float) -> None:
        for found in self.unresponsive.find(list(self._watched), now):
            process = self._watched.pop(found.pid, None)
            if process is not None:
                self._reported.add(found.pid)
                process.signal(signal.SIGKILL)
                self.tell(ChildUnresponsive(process.name, process.pid, found.reason))
            elif found.pid not in self._reported:
                # Not our child, or one that was killed a moment ago: report it and leave it alone.
                self._reported.add(found.pid)
                log.error("process_unresponsive", pid=found.pid, reason=found.reason)

    def _register(self, process: Process) -> None:
        def on_control() -> None:
            try:
                data = process.control.recv(64)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self.tell(ChildReady(process.name, process.pid))
                return
            # One select may return both events of an exit, the exit first: then this socket is unregistered.
            with contextlib.suppress(KeyError):
                self._selector.unregister(control)
            if process.pidfd is None:
                self._watched.pop(process.pid, None)
                self.tell(ChildExited(process.name, process.pid))

        def on_exit() -> None:
            self._selector.unregister(pidfd)
            self._watched.pop(process.pid, None)
            with contextlib.suppress(KeyError):
                self._selector.unregister(control)
            self.tell(ChildExited(process.name, process.pid))

        self._watched[process.pid] = process
        control = process.control.fileno()
        self._selector.register(control, selectors.EVENT_READ, on_control)
        if process.pidfd is not None:
            pidfd = process.pidfd
            self._selector.register(pidfd, selectors.EVENT_READ, on_exit)

    def _on_signal(self) -> None:
        if self._signals is not None and self._signals.read():
            self.tell(StopAll())

    def _on_wake(self) -> None:
        self.wake.drain()
        self.tell(MailboxChanged())
