"""The supervisor's ears: one selector over exits, control lines, signals and wakes, on the main thread.

It observes and tells the supervisor's actor. One thing it does itself: a child that does not move is
killed from here, for the actor's thread may be waiting for what that child holds.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from actors import log
from actors.runtime.wake import WakeSocket
from supervisor.process.launch import Process
from supervisor.process.wedged import Wedges

TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class ChildReady:
    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class ChildExited:
    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class ChildWedged:
    """It did not move and was killed; its exit follows."""

    name: str
    pid: int
    reason: str


@dataclass(frozen=True, slots=True)
class MailboxChanged:
    pass


@dataclass(frozen=True, slots=True)
class Tick:
    """Time to look at the clock: restarts that are due, deadlines, the zygote."""


@dataclass(frozen=True, slots=True)
class StopAll:
    """Ordered shutdown of everything."""


Event = ChildReady | ChildExited | ChildWedged | MailboxChanged | Tick | StopAll


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Signal handlers only enqueue: the number arrives through the wake-up descriptor."""


@dataclass(slots=True)
class Watch:
    """Made and run on the main thread; `add` and `hurry` are for the actor's thread."""

    wake: WakeSocket
    wedges: Wedges
    tell: Callable[[Event], None] = field(default=lambda _event: None)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _added: queue.SimpleQueue[Process] = field(default_factory=queue.SimpleQueue)
    _next_tick_at: float = 0.0
    _pipe: tuple[int, int] = (-1, -1)
    _watched: dict[int, Process] = field(default_factory=dict)
    _told_of: set[int] = field(default_factory=set)
    _ended: bool = False

    def open(self) -> None:
        """Register what is always there, and take over the signals of this (the main) thread."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self._pipe = (reader, writer)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _ignore)
        self._selector.register(reader, selectors.EVENT_READ, self._on_pipe)
        self._selector.register(self.wake, selectors.EVENT_READ, self._on_wake)

    def add(self, process: Process) -> None:
        """Watch a process from now on; any thread may call it."""
        self._added.put(process)
        self._nudge()

    def hurry(self, at: float) -> None:
        """Tick no later than `at` (monotonic seconds)."""
        if at < self._next_tick_at:
            self._next_tick_at = at
            self._nudge()

    def end(self) -> None:
        """Leave `run`; a second end is harmless."""
        self._ended = True
        self._nudge()

    def _nudge(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._pipe[1], b"\0")

    def run(self) -> None:
        """Observe until `end`."""
        while not self._ended:
            now = time.monotonic()
            if now >= self._next_tick_at:
                self._next_tick_at = now + TICK_S
                self.tell(Tick())
                self._end_wedged(now)
            for key, _ in self._selector.select(max(0.0, self._next_tick_at - time.monotonic())):
                key.data()
            while not self._added.empty():
                self._register(self._added.get())

    def _end_wedged(self, now: float) -> None:
        for wedge in self.wedges.look(list(self._watched), now):
            process = self._watched.pop(wedge.pid, None)
            if process is not None:
                self._told_of.add(wedge.pid)
                process.signal(signal.SIGKILL)
                self.tell(ChildWedged(process.name, process.pid, wedge.reason))
            elif wedge.pid not in self._told_of:
                # No child of ours, or one whose kill is under way: not for us to end.
                self._told_of.add(wedge.pid)
                log.error("process_wedged", pid=wedge.pid, reason=wedge.reason)

    def _register(self, process: Process) -> None:
        def on_line() -> None:
            try:
                data = process.control.recv(64)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self.tell(ChildReady(process.name, process.pid))
                return
            # One look may bring both events of an end, and the exit's first: then this is done.
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
        self._selector.register(control, selectors.EVENT_READ, on_line)
        if process.pidfd is not None:
            pidfd = process.pidfd
            self._selector.register(pidfd, selectors.EVENT_READ, on_exit)

    def _on_pipe(self) -> None:
        numbers = os.read(self._pipe[0], 256)
        if {signal.SIGTERM, signal.SIGINT, signal.SIGHUP} & set(numbers):
            self.tell(StopAll())

    def _on_wake(self) -> None:
        self.wake.drain()
        self.tell(MailboxChanged())
