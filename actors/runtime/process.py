"""Runs one actor in a child process: acquire its lock, open the store, recover, report ready, wait for events.

The process is forked from the zygote (`supervisor/process/zygote.py`). Tests call `run` directly.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pykka

from actors import log
from actors.errors import ActorLocked
from actors.home import Home, file_name
from actors.runtime.actor import POLL_S, Actor, Recover, Wake
from actors.runtime.addresses import Priority
from actors.runtime.context import Runtime
from actors.runtime.signals import SignalPipe
from actors.runtime.wake import Waker, WakeSocket
from actors.settings import Config
from store import inbox
from store.engine import Store
from store.failpoints import failpoint, set_actor_name
from store.shared import file_lock

EXIT_ORPHANED = 75  # the supervisor has ended; the next one starts this actor again
EXIT_NOT_STARTED = 76  # the actor failed before it was ready
ORPHAN_GRACE_S = 0.7  # for the running step, after the supervisor has ended
ORPHAN_CHECK_S = 0.3  # how often the supervisor's end is checked during recovery
LOCK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of an actor, in its own process. `generation` counts them; `config` is from `Config.to_json`."""

    name: str
    kind: str
    generation: int
    home: str
    config: str


def run(incarnation: Incarnation, control: socket.socket, actor_class: type[Actor]) -> NoReturn:
    """Run an actor in this process until it is stopped; never returns. `control` is the supervisor's socket."""
    code = EXIT_NOT_STARTED
    try:
        code = _live(incarnation, control, actor_class)
    except BaseException as error:  # noqa: BLE001 - the process boundary: reported on stderr and by the exit code
        print(f"{incarnation.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        # Not sys.exit: a fork must not run the zygote's exit handlers, nor wait for daemon threads.
        sys.stderr.flush()
        os._exit(code)


def _live(incarnation: Incarnation, control: socket.socket, actor_class: type[Actor]) -> int:
    set_actor_name(incarnation.name)
    failpoint("forked")
    signals = SignalPipe(signal.SIGTERM, signal.SIGINT)
    home = Home(Path(incarnation.home))
    lock = hold_lock(home, incarnation.name, LOCK_TIMEOUT_S)
    log.configure(incarnation.name, home.logs, level="INFO", stderr=False)
    waker = Waker(home.run)
    store = Store(home.store, notify=waker)
    wake = WakeSocket(home.run, incarnation.name)
    runtime = Runtime(
        incarnation.name, incarnation.generation, home, Config.from_json(incarnation.config), store, waker
    )
    runtime.coupling.pipe = signals
    reference = actor_class.start(runtime)
    if not _has_recovered(reference, control):
        return EXIT_ORPHANED
    failpoint("recovered")
    control.sendall(b"ready\n")
    code = _Pump(runtime, reference, control, wake, signals).run()
    # Any other code means that the actor's thread may still run and hold the store's mutex. The end of the process
    # then releases everything.
    if code == 0:
        wake.close()
        store.close()
    os.close(lock)
    return code


def _has_recovered(reference: pykka.ActorRef[Actor], control: socket.socket) -> bool:
    """Wait without a time limit until the actor has recovered. False if the supervisor ends first.

    Raises the exception that the recovery raised.
    """
    recovery = reference.ask(Recover(), block=False)
    while True:
        with contextlib.suppress(pykka.Timeout):
            recovery.get(timeout=ORPHAN_CHECK_S)
            return True
        if select.select([control], [], [], 0)[0] and not control.recv(64):
            return False


def hold_lock(home: Home, name: str, patience_s: float) -> int:
    """Acquire the lock that an actor holds for life; returns its descriptor. Raises `ActorLocked`.

    The lock is acquired after the fork and is not inherited by programs that this process starts. So it is free as
    soon as this process has ended.
    """
    path = home.run / f"{file_name(name)}.lock"
    descriptor = file_lock.acquire(path, wait_s=patience_s)
    if descriptor is None:
        raise ActorLocked(f"{name}: another process still holds {path}")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


@dataclass(slots=True)
class _Pump:
    """The main thread's loop. It waits for a wake-up, the next poll, a signal, or the end of the supervisor."""

    runtime: Runtime
    reference: pykka.ActorRef[Actor]
    control: socket.socket
    wake: WakeSocket
    signals: SignalPipe

    def run(self) -> int:
        """Run until the actor is stopped; returns the exit code."""
        self.reference.tell(Wake())
        sources: list[WakeSocket | socket.socket | SignalPipe] = [self.wake, self.control, self.signals]
        while True:
            if self.runtime.coupling.stopping.is_set():
                return self._finish(0)
            ready, _, _ = select.select(sources, [], [], self._timeout_s())
            if self.control in ready and not self.control.recv(64):
                self.runtime.coupling.stop()
                return self._finish(EXIT_ORPHANED, ORPHAN_GRACE_S)
            if self.signals in ready:
                if self.signals.read():
                    self.runtime.coupling.stop()
                    return self._finish(0)
                if ready == [self.signals]:
                    continue  # only a wake by the actor's thread: `next_wake_at` has changed
            if self.wake in ready:
                self.wake.drain()
            self._wake_actor()

    def _timeout_s(self) -> float:
        """Seconds until the actor should run again, at most `POLL_S`.

        If that time has passed, the actor is running already. It wakes this thread when it sets a new time.
        """
        timeout_s = self.runtime.coupling.next_wake_at - self.runtime.clock()
        return min(timeout_s, POLL_S) if timeout_s > 0 else POLL_S

    def _wake_actor(self) -> None:
        """Interrupt the running step if an urgent message is unread, and have the actor read its mailbox."""
        # An idle actor has no step to interrupt, and it reads the whole mailbox when it wakes.
        if self.runtime.coupling.working:
            urgent = inbox.peek(
                self.runtime.store,
                self.runtime.name,
                now=self.runtime.clock(),
                least_priority=Priority.URGENT,
            )
            if urgent is not None:
                self.runtime.coupling.cancelled.set()
        # One queued `Wake` is enough: the actor reads the whole mailbox when it handles it.
        if self.reference.actor_inbox.empty():
            self.reference.tell(Wake())

    def _finish(self, code: int, timeout_s: float = 3600.0) -> int:
        """Wait until the actor's thread has ended its step; returns `code`. The supervisor kills a slow process."""
        stopped = self.reference.stop(block=False)
        with contextlib.suppress(pykka.Timeout):
            stopped.get(timeout=timeout_s)
        return code
