"""A child's life, from the fork to its exit: lock, store, recovery, ready, pump.

Runs in a process forked from the zygote (`supervisor/zygote.py`), or directly in tests.
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

EXIT_ORPHANED = 75  # the supervisor is gone; its successor starts this actor anew
EXIT_NOT_STARTED = 76  # failed before it was ready
ORPHAN_GRACE_S = 0.7
ORPHAN_LOOK_S = 0.3
LOCK_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One run of an actor in a process of its own. `config` is the text that `Config.to_json` returns."""

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
    except BaseException as error:  # noqa: BLE001 - the process boundary: said on stderr and by the exit code
        print(f"{incarnation.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        # Not sys.exit: a fork must not run what the zygote registered, nor wait for daemon threads.
        sys.stderr.flush()
        os._exit(code)


def _live(incarnation: Incarnation, control: socket.socket, actor_class: type[Actor]) -> int:
    set_actor_name(incarnation.name)
    failpoint("forked")
    signals = SignalPipe(signal.SIGTERM, signal.SIGINT)
    home = Home(Path(incarnation.home))
    lock = hold_lock(home, incarnation.name, LOCK_PATIENCE_S)
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
    if code == 0:
        wake.close()
        store.close()
    # Else the actor's thread may hold the store's mutex for long: the process's end releases everything.
    os.close(lock)
    return code


def _has_recovered(reference: pykka.ActorRef[Actor], control: socket.socket) -> bool:
    """Wait for the recovery, however long; False if the supervisor ends meanwhile. Raises what it raised."""
    recovery = reference.ask(Recover(), block=False)
    while True:
        with contextlib.suppress(pykka.Timeout):
            recovery.get(timeout=ORPHAN_LOOK_S)
            return True
        if select.select([control], [], [], 0)[0] and not control.recv(64):
            return False


def hold_lock(home: Home, name: str, patience_s: float) -> int:
    """Acquire the lock that an actor holds for life; returns its descriptor. Raises `ActorLocked`.

    Acquired after the fork, and closed in what this process starts: no other process can hold it afterwards.
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
    """The main thread: waits for a wake, the poll, a signal, or the supervisor's end."""

    runtime: Runtime
    reference: pykka.ActorRef[Actor]
    control: socket.socket
    wake: WakeSocket
    signals: SignalPipe

    def run(self) -> int:
        """Pump until the end; returns the exit code."""
        self.reference.tell(Wake())
        sources: list[WakeSocket | socket.socket | SignalPipe] = [self.wake, self.control, self.signals]
        while True:
            if self.runtime.coupling.stopping.is_set():
                return self._finish(0)
            ready, _, _ = select.select(sources, [], [], self._patience_s())
            if self.control in ready and not self.control.recv(64):
                self.runtime.coupling.stop()
                return self._finish(EXIT_ORPHANED, ORPHAN_GRACE_S)
            if self.signals in ready:
                if self.signals.read():
                    self.runtime.coupling.stop()
                    return self._finish(0)
                if ready == [self.signals]:
                    continue  # only a nudge: the actor has said until when to wait
            if self.wake in ready:
                self.wake.drain()
            self._look()

    def _patience_s(self) -> float:
        """Until the actor's next look; one that is overdue is being taken, and a nudge will follow it."""
        patience_s = self.runtime.coupling.next_wake_at - self.runtime.clock()
        return min(patience_s, POLL_S) if patience_s > 0 else POLL_S

    def _look(self) -> None:
        """Interrupt the running step if something urgent waits, and have the mailbox drained."""
        # One that is not at work has no step to interrupt, and its next look finds all that is there now.
        if self.runtime.coupling.working:
            urgent = inbox.peek(
                self.runtime.store,
                self.runtime.name,
                now=self.runtime.clock(),
                least_priority=Priority.URGENT,
            )
            if urgent is not None:
                self.runtime.coupling.cancelled.set()
        # One waiting wake is enough: it will see everything that is there when it is taken.
        if self.reference.actor_inbox.empty():
            self.reference.tell(Wake())

    def _finish(self, code: int, patience_s: float = 3600.0) -> int:
        """Wait until the actor's thread has ended its step; the supervisor kills what takes too long."""
        stopped = self.reference.stop(block=False)
        with contextlib.suppress(pykka.Timeout):
            stopped.get(timeout=patience_s)
        return code
