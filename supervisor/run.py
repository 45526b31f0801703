"""`nightcrew up --foreground`: one supervisor for a home, from its lock to its last child's exit."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress

import pykka
from setproctitle import setproctitle

from actors import log
from actors.home import Home
from actors.runtime.actor import EXIT_CRASHED
from actors.runtime.addresses import SUPERVISOR
from actors.runtime.wake import Waker, WakeSocket
from actors.settings import Config
from store import facts, failpoints, inbox, incidents
from store.engine import Store
from store.shared import file_lock
from store.states import IncidentKind
from store.upkeep import migrate
from supervisor import loop
from supervisor.errors import AlreadyRunning
from supervisor.health import preflight, status
from supervisor.process import recovery
from supervisor.process.launch import Launcher, become_subreaper
from supervisor.process.unresponsive import UnresponsiveSearch
from supervisor.process.watch import Watch
from supervisor.upkeep import shifted_clock

LOCK_TIMEOUT_S = 0.3
END_TIMEOUT_S = 10.0


def serve(home: Home, config: Config, *, stderr: bool) -> None:
    """Run until stopped. Raises `AlreadyRunning`, or a `StoreError` before anything is started."""
    home.make()
    failpoints.arm(os.environ, SUPERVISOR)
    shifted_clock.arm(os.environ)
    lock = _take_lock(home)
    died = _left_behind(lock)
    _write_lock(lock, 0, ready=False)
    try:
        setproctitle(f"nightcrew: supervisor {home.path}")
        log.configure(SUPERVISOR, home.logs, level="INFO", stderr=stderr)
        migrate.ensure(home.store)
        become_subreaper()
        killed = [*recovery.kill_leftovers(home), *recovery.kill_stray_sandboxes(home)]
        waker = Waker(home.run)
        store = Store(home.store, notify=waker)
        wake = WakeSocket(home.run, SUPERVISOR)
        try:
            generation = _next_generation(store, died)
            log.info("supervisor_started", generation=generation, home=str(home.path), leftovers=len(killed))
            _supervise(home, config, store, wake, lock, generation)
        finally:
            wake.close()
            store.close()
    finally:
        os.ftruncate(lock, 0)
        os.close(lock)


def _supervise(
    home: Home, config: Config, store: Store, wake: WakeSocket, lock: int, generation: int
) -> None:
    launcher = Launcher(home, config.to_json())
    # The zygote first: its imports run while the sandbox is tested.
    launcher.ensure_zygote()
    try:
        preflight.observe_sandbox(store, config, home)
    except BaseException:
        launcher.end_zygote()
        raise
    loop.add_services(store, tmux=config.tmux.enabled)
    watch = Watch(wake, UnresponsiveSearch(home.store))
    watch.open()
    reference = loop.Supervisor.start(home, config, store, launcher, watch)
    watch.tell = reference.tell
    try:
        reference.tell(loop.Reconcile())
        _write_lock(lock, generation, ready=True)
        watch.run()
    finally:
        _end_actor(reference)
        launcher.end_zygote()
        log.info("supervisor_stopped", generation=generation)


def _end_actor(reference: pykka.ActorRef[loop.Supervisor]) -> None:
    """Let the thread handle the events it has received; the store stays open until it is done."""
    try:
        reference.stop(timeout=END_TIMEOUT_S)
    except pykka.Timeout:
        log.error("supervisor_does_not_end", timeout_s=END_TIMEOUT_S)
        os._exit(EXIT_CRASHED)


def _take_lock(home: Home) -> int:
    # Wait a little: a command that checks whether a supervisor runs (`status.holder`) holds it for a moment.
    descriptor = file_lock.acquire(home.supervisor_lock, wait_s=LOCK_TIMEOUT_S)
    if descriptor is None:
        found = status.holder(home)
        who = f"process {found.pid}" if found else "another process"
        raise AlreadyRunning(
            f"a supervisor is already running for {home.path}: {who}; see `nightcrew status`, "
            "or stop it with `nightcrew down`"
        )
    return descriptor


def _left_behind(lock: int) -> int | None:
    """The pid of an earlier supervisor that was killed, or None: a normal shutdown empties the lock file."""
    with suppress(ValueError, KeyError, TypeError):
        return int(json.loads(os.pread(lock, 4096, 0))["pid"])
    return None


def _write_lock(descriptor: int, generation: int, *, ready: bool) -> None:
    content = {"pid": os.getpid(), "since": time.time(), "generation": generation, "ready": ready}
    data = json.dumps(content).encode()
    os.pwrite(descriptor, data, 0)
    os.ftruncate(descriptor, len(data))


def _next_generation(store: Store, died: int | None) -> int:
    """The number of this start. Records an incident if the earlier supervisor was killed; `died` is its pid."""
    generation = (facts.get(store, facts.SUPERVISOR_GENERATION) or 0) + 1
    with store.write() as tx:
        # The clock may have been set back while no supervisor ran to notice it.
        inbox.make_due(tx, now=time.time())
        if died is not None:
            incidents.record(
                tx, IncidentKind.SUPERVISOR_DIED, now=time.time(), pid=died, generation=generation - 1
            )
        facts.put(tx, facts.SUPERVISOR_GENERATION, generation, now=time.time())
    return generation
