"""The supervisor: a thread that receives events, starts and stops children, and writes what it did.

One thread handles one event at a time and never waits for a child. The events come from the main thread
(`process/watch.py`). Everything that must outlive the supervisor is in the store.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import pykka

from actors import log
from actors.errors import MessageUndecodable
from actors.home import Home
from actors.runtime import messages
from actors.runtime.actor import EXIT_CRASHED
from actors.runtime.addresses import SUPERVISOR
from actors.runtime.messages import ProjectChanged, RestartAgent
from actors.settings import Config
from store import inbox
from store.engine import Store
from store.errors import StoreUnwritable
from store.failpoints import failpoint
from supervisor.deadlines import Deadlines
from supervisor.policy import tree
from supervisor.process import recovery
from supervisor.process.children import Children
from supervisor.process.launch import Launcher, reap_orphans
from supervisor.process.watch import (
    ChildExited,
    ChildReady,
    ChildUnresponsive,
    MailboxChanged,
    StopAll,
    Tick,
    Watch,
)
from supervisor.upkeep.jobs import Jobs

STRAYS_INTERVAL_S = 60.0


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Start and stop children until they are those that the store wants. Sent once, at the start."""


class Supervisor(pykka.ThreadingActor):
    """One per home. Its messages are `watch.Event`s and `Reconcile`."""

    use_daemon_thread = True

    def __init__(self, home: Home, config: Config, store: Store, launcher: Launcher, watch: Watch) -> None:
        super().__init__()
        self.home = home
        self.store = store
        self.launcher = launcher
        self.watch = watch
        self.children = Children(store, launcher, watch, config.supervisor)
        self.deadlines = Deadlines(store, self.children)
        self.jobs = Jobs(home, config, store)
        self.strays_at = time.monotonic() + STRAYS_INTERVAL_S
        self.must_repeat = False

    # -- events --------------------------------------------------------------------------------

    def on_receive(self, message: Any) -> Any:
        """Handle one event, on the supervisor's thread."""
        try:
            self._handle(message)
        except StoreUnwritable as error:
            # The children run on. What could not be written is repeated at the next tick.
            log.error("store_unwritable", reason=str(error))
            self.must_repeat = True

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        """End the process after an unexpected exception; the next supervisor resumes from the store."""
        log.error("supervisor_crashed", reason=f"{exception_value!r}")
        os._exit(EXIT_CRASHED)

    def _handle(self, message: Any) -> None:
        match message:
            case ChildReady(name, pid):
                self.children.on_ready(name, pid)
            case ChildExited(name, pid):
                self.children.on_exit(name, pid)
                if self.children.is_stopping:
                    self.stop_all()
            case ChildUnresponsive(name, _, reason):
                self.deadlines.record_unresponsive(name, reason)
            case MailboxChanged():
                self.read_mailbox()
            case Tick():
                self._tick(time.monotonic())
            case Reconcile():
                self.children.reconcile()
            case StopAll():
                self.stop_all()

    def _tick(self, now: float) -> None:
        if self.must_repeat:
            self.must_repeat = False
            self.stop_all() if self.children.is_stopping else self.children.reconcile()
        self.read_mailbox()
        self.children.on_tick(now)
        self.deadlines.tick()
        self._reap()
        if now >= self.strays_at:
            self.strays_at = now + STRAYS_INTERVAL_S
            recovery.kill_stray_sandboxes(self.home)
        if not self.children.is_stopping:
            self._keep_helpers(now)

    def _keep_helpers(self, now: float) -> None:
        """Start the zygote and the jobs where they are missing. What fails is tried again at the next tick."""
        try:
            self.launcher.ensure_zygote()
        except OSError as error:
            log.error("zygote_not_started", reason=str(error))
        try:
            self.jobs.tick(now)
        except OSError as error:
            log.error("job_not_started", reason=str(error))

    def _reap(self) -> None:
        zygote_pid = self.launcher.zygote_pid()
        known = self.children.pids() | self.jobs.pids
        reap_orphans(known | ({zygote_pid} if zygote_pid else set()))

    # -- messages ------------------------------------------------------------------------------

    def read_mailbox(self) -> None:
        """Handle the messages that the command line and the actors have sent to the supervisor."""
        while (row := inbox.peek(self.store, SUPERVISOR, now=time.time())) is not None:
            with self.store.write() as tx:
                inbox.claim(tx, row.id, generation=0, now=time.time())
                inbox.acknowledge(tx, row.id, now=time.time())
            failpoint("order_taken")
            try:
                message = messages.decode(row.body)
            except MessageUndecodable as error:
                log.error("message_undecodable", sender=row.sender, reason=str(error))
                continue
            match message:
                case RestartAgent(agent=name) if name in self.children:
                    self.children.restart(name)
                case ProjectChanged() | RestartAgent():
                    pass
                case other:
                    log.warning("message_unexpected", kind=other.kind, sender=row.sender)
            if not self.children.is_stopping:
                self.children.reconcile()

    # -- shutdown ------------------------------------------------------------------------------

    def stop_all(self) -> None:
        """Stop the children tier by tier, then the helpers. Called again at each exit until all are done."""
        if self.children.stop_next_tier():
            return
        self.jobs.stop()
        self.launcher.end_zygote()
        self.watch.end()


def add_services(store: Store, *, tmux: bool) -> None:
    """Add the rows of the crew's own actors where they are missing. Called once, before `Reconcile`."""
    with store.write() as tx:
        tree.add_services(tx, now=time.time(), tmux=tmux)
