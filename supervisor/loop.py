"""The supervisor: an actor that receives exits, readiness, ticks and messages, and keeps its children alive.

Decisions are pure (`strategy.py`, `intensity.py`, `tree.py`); here they are carried out and written
down. It runs on one thread, told by `watch.py`; it never waits for a child.
"""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass
from typing import Any

import psutil
import pykka

from actors import log
from actors.errors import MessageUndecodable
from actors.home import Home
from actors.runtime import messages
from actors.runtime.actor import EXIT_CRASHED
from actors.runtime.addresses import SUPERVISOR
from actors.runtime.messages import ProjectChanged, RestartAgent
from actors.settings import Config
from actors.work import assignment
from store import crew, inbox, incidents
from store.engine import Store
from store.errors import StoreUnwritable
from store.failpoints import failpoint
from store.states import Activity, AgentState
from supervisor.errors import LaunchFailed, ZygoteAway
from supervisor.policy import tree
from supervisor.policy.intensity import Backoff, Intensity
from supervisor.policy.spec import Exit
from supervisor.policy.strategy import Start, Strategy, decide
from supervisor.process import recovery
from supervisor.process.child import Child, Idle, Quarantined, Running, Starting, Stopping, Waiting
from supervisor.process.launch import Launcher, reap_strangers
from supervisor.process.watch import (
    ChildExited,
    ChildReady,
    ChildWedged,
    MailboxChanged,
    StopAll,
    Tick,
    Watch,
)
from supervisor.upkeep.chores import Chores
from supervisor.upkeep.clock import SleepGap, wall_drift

START_PATIENCE_S = 30.0
ZYGOTE_LOOK_S = 0.03
STRAYS_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Make the children what the store wants; told once at the start."""


class Supervisor(pykka.ThreadingActor):
    """One per home. Told `watch.Event`s; everything it must remember is in the store."""

    use_daemon_thread = True

    def __init__(self, home: Home, config: Config, store: Store, launcher: Launcher, watch: Watch) -> None:
        super().__init__()
        self.config = config.supervisor
        self.tmux = config.tmux.enabled
        self.store = store
        self.home = home
        self.strays_at = time.monotonic() + STRAYS_EVERY_S
        self.launcher = launcher
        self.watch = watch
        self.children: dict[str, Child] = {}
        self.backoff = Backoff(self.config.backoff_first_s, self.config.backoff_max_s)
        self.gap = SleepGap()
        self.drift = wall_drift()
        self.chores = Chores(home, config, store)
        self.stopping = False
        self.unsettled = False

    # -- events --------------------------------------------------------------------------------

    def on_receive(self, message: Any) -> Any:
        """Runs on the supervisor's thread."""
        try:
            self._receive(message)
        except StoreUnwritable as error:
            # Children live on; what could not be written down is tried again at the next tick.
            log.error("store_unwritable", reason=str(error))
            self.unsettled = True

    def _receive(self, message: Any) -> None:
        match message:
            case ChildReady(name, pid):
                self.on_ready(name, pid)
            case ChildExited(name, pid):
                self.on_exit(name, pid)
            case ChildWedged(name, _, reason):
                self._note_hung(crew.agent(self.store, name), reason=reason)
            case MailboxChanged():
                self.read_mailbox()
            case Tick():
                self.on_tick()
            case Reconcile():
                self.reconcile()
            case StopAll():
                self.stop_all()

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        """A supervisor that cannot decide must not linger: its successor resumes from the store."""
        log.error("supervisor_crashed", reason=f"{exception_value!r}")
        os._exit(EXIT_CRASHED)

    def on_ready(self, name: str, pid: int) -> None:
        child = self.children.get(name)
        if child is None or not isinstance(child.status, Starting) or child.status.process.pid != pid:
            return
        process = child.status.process
        child.status = Running(process, time.monotonic())
        failpoint("child_ready_seen")
        with self.store.write(durable=False) as tx:
            crew.change_agent(tx, name, state=AgentState.RUNNING.value, ready_at=time.time(), reason=None)
        log.info("child_ready", actor=name, pid=pid, incarnation=process.generation)

    def on_exit(self, name: str, pid: int) -> None:
        child = self.children[name]
        process = child.process
        if process is None or process.pid != pid:
            return
        reason = process.reap()
        failpoint("child_exit_seen")
        match child.status:
            case Stopping(_, _, again):
                child.status = Idle()
                self._note_stopped(name, reason)
                if again and not self.stopping:
                    self.begin(child)
            case _:
                self._restart(child, reason)
        if self.stopping:
            self.stop_all()

    def _restart(self, child: Child, reason: str) -> None:
        """One for one: the strategy says whether, the intensity how soon."""
        how = Exit.NORMAL if reason == "exit:0" else Exit.ABNORMAL
        child.status = Idle()
        actions = decide(Strategy.ONE_FOR_ONE, [child.spec], child.spec.name, how)
        if self.stopping or Start(child.spec.name) not in actions:
            self._note_stopped(child.spec.name, reason)
            return
        now = time.monotonic()
        child.intensity = child.intensity.record(now)
        if child.intensity.is_exhausted(now):
            self.quarantine(child, reason, now)
            return
        delay_s = self.backoff.delay_s(len(child.intensity.crashes), random.random())
        log.warning("child_restarted", actor=child.spec.name, reason=reason, delay_ms=round(delay_s * 1000))
        if delay_s == 0:
            self.begin(child, crashed=reason)
            return
        child.status = Waiting(now + delay_s, reason)
        self.watch.hurry(now + delay_s)
        with self.store.write() as tx:
            crew.change_agent(tx, child.spec.name, state=AgentState.BACKOFF.value, reason=reason, pid=None)

    def on_tick(self) -> None:
        now = time.monotonic()
        if self.unsettled:
            # An exit that could not be written down left its child idle, or the shutdown half way.
            self.unsettled = False
            self.stop_all() if self.stopping else self.reconcile()
        self.read_mailbox()
        for child in list(self.children.values()):
            match child.status:
                case Waiting(until, crashed) if now >= until and not self.stopping:
                    self.begin(child, crashed=crashed)
                case Quarantined(until) if now >= until and not self.stopping:
                    self.begin(child, crashed="quarantine is over")
                case Stopping(process, kill_at, _) if now >= kill_at:
                    process.signal(signal.SIGKILL)
                case Starting(process, since) if now - since > START_PATIENCE_S:
                    log.error("child_not_ready", actor=child.spec.name, patience_s=START_PATIENCE_S)
                    process.signal(signal.SIGKILL)
                case Waiting(until) | Quarantined(until):
                    self.watch.hurry(until)
                case _:
                    pass
        self._stretch_deadlines()
        self._end_hung()
        self._reap()
        if now >= self.strays_at:
            self.strays_at = now + STRAYS_EVERY_S
            recovery.end_stray_sandboxes(self.home)
        if not self.stopping:
            try:
                self.launcher.ensure_zygote()
            except OSError as error:
                # No process to be had just now; the next tick tries again.
                log.error("zygote_not_started", reason=str(error))
            try:
                self.chores.tick(now)
            except OSError as error:
                log.error("chore_not_done", reason=str(error))

    # -- children ------------------------------------------------------------------------------

    def reconcile(self) -> None:
        """Start what the store wants and stop what it does not."""
        rows = crew.all_agents(self.store)
        wanted = {row["name"]: tree.spec_of(row, self.config.grace_s) for row in rows if row["wanted"]}
        for row in rows:
            name = row["name"]
            if name in wanted:
                continue
            if name in self.children:
                self.end(self.children[name], again=False)
            elif row["state"] not in (AgentState.STOPPED, AgentState.ARCHIVED):
                # It ended with an older supervisor, which had no time to write it down.
                self._note_stopped(name, "ended with its supervisor")
        for spec in tree.in_start_order(list(wanted.values())):
            child = self.children.setdefault(spec.name, Child(spec, self._new_intensity()))
            match child.status:
                case Idle():
                    self.begin(child)
                case Stopping(process, kill_at, _):
                    child.status = Stopping(process, kill_at, again=True)
                case _:
                    pass

    def begin(self, child: Child, *, crashed: str | None = None) -> None:
        """Fork a new incarnation under the next generation; what cannot start is tried again later."""
        if not self._zygote_is_ready():
            self._hold(child, crashed)
            return
        name = child.spec.name
        now = time.time()
        # After a power cut there is no incarnation, so it matters to nobody which one was the newest.
        with self.store.write(durable=crashed is not None) as tx:
            generation = crew.next_generation(tx, name)
            row = crew.agent(tx, name)
            crew.change_agent(
                tx,
                name,
                state=AgentState.STARTING.value,
                reason=crashed,
                restarts=row["restarts"] + (crashed is not None),
                deadline_at=None,
                activity=Activity.IDLE.value,
            )
            if crashed is not None:
                incidents.record(
                    tx, "agent_restarted", now=now, agent=name, project=row["project"], reason=crashed
                )
        failpoint("generation_raised")
        try:
            process = self.launcher.start(name, child.spec.kind, generation)
            failpoint("child_forked")
        except ZygoteAway:
            self._hold(child, crashed)
            return
        except (LaunchFailed, OSError) as error:
            log.error("child_not_started", actor=name, reason=str(error))
            self._restart(child, "exit:not-started")
            return
        child.status = Starting(process, time.monotonic())
        self.watch.add(process)
        with self.store.write(durable=False) as tx:
            crew.change_agent(tx, name, pid=process.pid, process_started_at=_started_at(process.pid))
        failpoint("child_recorded")

    def _zygote_is_ready(self) -> bool:
        try:
            return self.launcher.is_ready()
        except OSError as error:
            log.error("zygote_not_started", reason=str(error))
            return False

    def _hold(self, child: Child, crashed: str | None) -> None:
        """Start it as soon as there is a zygote; whose absence is not the child's crash."""
        child.status = Waiting(time.monotonic() + ZYGOTE_LOOK_S, crashed)
        self.watch.hurry(time.monotonic() + ZYGOTE_LOOK_S)

    def end(self, child: Child, *, again: bool) -> None:
        """Ask a child to end; KILL follows after its grace. A second stop is harmless."""
        match child.status:
            case Starting(process) | Running(process):
                process.signal(signal.SIGTERM)
                child.status = Stopping(process, time.monotonic() + child.spec.grace_s, again)
                self.watch.hurry(time.monotonic() + child.spec.grace_s)
            case Stopping(process, kill_at, _):
                child.status = Stopping(process, kill_at, again)
            case Waiting() | Quarantined():
                child.status = Idle()
                self._note_stopped(child.spec.name, "stopped")
                if again:
                    self.begin(child)
            case Idle():
                if again:
                    self.begin(child)

    def quarantine(self, child: Child, reason: str, now: float) -> None:
        """Past the limit: rest for a window, tell the manager and the human, let others do its work."""
        name = child.spec.name
        child.status = Quarantined(now + self.config.intensity_window_s)
        crashes = len(child.intensity.crashes)
        why = f"crashed {crashes} times in {self.config.intensity_window_s:.0f} s, last by {reason}"
        log.error("child_quarantined", actor=name, reason=why)
        with self.store.write() as tx:
            crew.change_agent(tx, name, state=AgentState.QUARANTINED.value, reason=why, pid=None)
            assignment.on_quarantine(tx, name, why, now=time.time())

    def _new_intensity(self) -> Intensity:
        return Intensity(self.config.intensity, self.config.intensity_window_s)

    def _note_stopped(self, name: str, reason: str) -> None:
        log.info("child_stopped", actor=name, reason=reason)
        with self.store.write() as tx:
            crew.change_agent(
                tx, name, state=AgentState.STOPPED.value, reason=reason, pid=None, deadline_at=None
            )

    # -- the mailbox ---------------------------------------------------------------------------

    def read_mailbox(self) -> None:
        """Handle what the CLI and the agents ask of the supervisor."""
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
                    child = self.children[name]
                    child.intensity = child.intensity.cleared()
                    self.end(child, again=True)
                case ProjectChanged() | RestartAgent():
                    pass
                case other:
                    log.warning("message_unexpected", kind=other.kind, sender=row.sender)
            if not self.stopping:
                self.reconcile()

    # -- time and hygiene ----------------------------------------------------------------------

    def _stretch_deadlines(self) -> None:
        """After the machine slept or its clock was set: nobody is late for the time it was away."""
        slept_s, drift_s = self.gap.measure(), self.drift.drift()
        if slept_s or drift_s:
            log.info("clock_drifted", slept_s=round(slept_s), drift_s=round(drift_s))
            with self.store.write() as tx:
                assignment.stretch_deadlines(tx, drift_s, slept_s=slept_s, now=time.time())

    def _end_hung(self) -> None:
        """Kill who has made no durable progress by its deadline; it resumes where it was."""
        now = time.time()
        for row in assignment.past_deadline(self.store, now):
            child = self.children.get(row["name"])
            if child is None or not isinstance(child.status, Running):
                continue
            child.status.process.signal(signal.SIGKILL)
            self._note_hung(row, reason="no progress by its deadline")

    def _note_hung(self, row: dict[str, Any], *, reason: str) -> None:
        log.warning("child_hung", actor=row["name"], activity=row["activity"], reason=reason)
        with self.store.write() as tx:
            crew.change_agent(tx, row["name"], deadline_at=None)
            incidents.record(
                tx,
                "agent_hung",
                now=time.time(),
                agent=row["name"],
                project=row["project"],
                activity=row["activity"],
                since=row["activity_since"],
                reason=reason,
            )

    def _reap(self) -> None:
        known = {child.process.pid for child in self.children.values() if child.process is not None}
        zygote_pid = self.launcher.zygote_pid()
        reap_strangers(known | self.chores.pids | ({zygote_pid} if zygote_pid else set()))

    # -- shutdown ------------------------------------------------------------------------------

    def stop_all(self) -> None:
        """Stop the lowest tier that still runs; called again at each exit until nothing does."""
        self.stopping = True
        live = [child for child in self.children.values() if child.process is not None]
        for child in self.children.values():
            if isinstance(child.status, Waiting | Quarantined):
                child.status = Idle()
        if not live:
            self.chores.end()
            self.launcher.end_zygote()
            self.watch.end()
            return
        lowest = max(tree.ORDER.index(child.spec.tier) for child in live)
        for child in live:
            if tree.ORDER.index(child.spec.tier) == lowest:
                self.end(child, again=False)


def _started_at(pid: int) -> float | None:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


def add_services(store: Store, *, tmux: bool) -> None:
    """Called once per start, before the first `reconcile`."""
    with store.write() as tx:
        tree.add_services(tx, now=time.time(), tmux=tmux)
