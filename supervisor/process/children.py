"""Starts, restarts, stops and quarantines the supervisor's children.

What should happen is decided in `supervisor/policy/`; here it is carried out. A child's state in memory
changes before its row does: if the row cannot be written, `reconcile` repeats what is missing.
"""

from __future__ import annotations

import random
import signal
import time

from actors import log
from actors.settings import SupervisorSettings
from store import crew
from store.engine import Store
from store.failpoints import failpoint
from store.shared.backoff import Backoff
from store.states import AgentState
from supervisor.errors import LaunchFailed, ZygoteNotReady
from supervisor.policy import tree
from supervisor.policy.intensity import Intensity
from supervisor.process import records
from supervisor.process.child import Child, Idle, Quarantined, Running, Starting, Stopping, Waiting
from supervisor.process.launch import Launcher
from supervisor.process.watch import Watch

START_TIMEOUT_S = 30.0
ZYGOTE_POLL_S = 0.03


class Children:
    """All children by name. Used by the supervisor's thread alone; no method waits for a child."""

    def __init__(self, store: Store, launcher: Launcher, watch: Watch, settings: SupervisorSettings) -> None:
        self.store = store
        self.launcher = launcher
        self.watch = watch
        self.settings = settings
        self.backoff = Backoff(settings.backoff_first_s, settings.backoff_max_s)
        self.is_stopping = False
        self._by_name: dict[str, Child] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def pids(self) -> set[int]:
        """The pids of the children that have a process."""
        return {child.process.pid for child in self._by_name.values() if child.process is not None}

    def reconcile(self) -> None:
        """Start the children that the store wants and stop those that it does not want."""
        rows = crew.all_agents(self.store)
        wanted = [tree.spec_of(row, self.settings.grace_s) for row in rows if row.wanted]
        for row in rows:
            if not row.wanted:
                self._stop_unwanted(row.name, AgentState(row.state))
        for spec in tree.in_start_order(wanted):
            intensity = Intensity(self.settings.intensity, self.settings.intensity_window_s)
            child = self._by_name.setdefault(spec.name, Child(spec, intensity))
            match child.status:
                case Idle():
                    self._start(child)
                case Stopping(process, kill_at, _):
                    child.status = Stopping(process, kill_at, again=True)
                case _:
                    pass

    def _stop_unwanted(self, name: str, state: AgentState) -> None:
        if name in self._by_name:
            self._stop(self._by_name[name], again=False)
        elif state not in (AgentState.STOPPED, AgentState.ARCHIVED):
            # It ended with an earlier supervisor that could not write this any more.
            self._record_stopped(name, "ended with its supervisor")

    def restart(self, name: str) -> None:
        """Stop the child and start it again, and forget its earlier crashes, because a person requested it."""
        child = self._by_name[name]
        child.intensity = child.intensity.cleared()
        self._stop(child, again=True)

    def kill_running(self, name: str) -> bool:
        """Send SIGKILL to a child that is running; False if it is in any other state. Its exit follows."""
        child = self._by_name.get(name)
        if child is None or not isinstance(child.status, Running):
            return False
        child.status.process.signal(signal.SIGKILL)
        return True

    def stop_next_tier(self) -> bool:
        """Stop the lowest tier that still has processes; False if no child has one. Nothing starts any more.

        Called at the start of the shutdown and again after each exit.
        """
        self.is_stopping = True
        for child in self._by_name.values():
            if isinstance(child.status, Waiting | Quarantined):
                child.status = Idle()
        live = [child for child in self._by_name.values() if child.process is not None]
        if not live:
            return False
        lowest = max(tree.ORDER.index(child.spec.tier) for child in live)
        for child in live:
            if tree.ORDER.index(child.spec.tier) == lowest:
                self._stop(child, again=False)
        return True

    # -- events --------------------------------------------------------------------------------

    def on_ready(self, name: str, pid: int) -> None:
        """The process `pid` has reported that it is ready."""
        child = self._by_name.get(name)
        if child is None or not isinstance(child.status, Starting) or child.status.process.pid != pid:
            return
        process = child.status.process
        child.status = Running(process, time.monotonic())
        failpoint("child_ready_seen")
        records.ready(self.store, name)
        log.info("child_ready", actor=name, pid=pid, incarnation=process.generation)

    def on_exit(self, name: str, pid: int) -> None:
        """The process `pid` has ended: reap it, then start it again, delay that, or leave it stopped."""
        child = self._by_name[name]
        process = child.process
        if process is None or process.pid != pid:
            return
        reason = process.reap()
        failpoint("child_exit_seen")
        match child.status:
            case Stopping(_, _, again):
                child.status = Idle()
                self._record_stopped(name, reason)
                if again and not self.is_stopping:
                    self._start(child)
            case _:
                self._on_unrequested_exit(child, reason)

    def on_tick(self, now: float) -> None:
        """Do what is due at `now` (monotonic seconds): delayed starts, and kills after a grace period."""
        for child in list(self._by_name.values()):
            match child.status:
                case Waiting(until, crashed) if now >= until and not self.is_stopping:
                    self._start(child, crashed=crashed)
                case Quarantined(until) if now >= until and not self.is_stopping:
                    self._start(child, crashed="quarantine is over")
                case Stopping(process, kill_at, _) if now >= kill_at:
                    process.signal(signal.SIGKILL)
                case Starting(process, since) if now - since > START_TIMEOUT_S:
                    log.error("child_not_ready", actor=child.spec.name, timeout_s=START_TIMEOUT_S)
                    process.signal(signal.SIGKILL)
                case Waiting(until) | Quarantined(until):
                    self.watch.tick_by(until)
                case _:
                    pass

    # -- starting ------------------------------------------------------------------------------

    def _start(self, child: Child, *, crashed: str | None = None) -> None:
        """Fork a new incarnation. `crashed` is the reason of the crash that it follows.

        Without a ready zygote the start is tried again shortly. A failed start counts as a crash.
        """
        if not self._zygote_is_ready():
            self._wait_for_zygote(child, crashed)
            return
        name = child.spec.name
        generation = records.next_incarnation(self.store, name, crashed)
        failpoint("generation_raised")
        try:
            process = self.launcher.start(name, child.spec.kind, generation)
            failpoint("child_forked")
        except ZygoteNotReady:
            self._wait_for_zygote(child, crashed)
            return
        except (LaunchFailed, OSError) as error:
            log.error("child_not_started", actor=name, reason=str(error))
            self._on_unrequested_exit(child, "exit:not-started")
            return
        child.status = Starting(process, time.monotonic())
        self.watch.add(process)
        records.forked(self.store, name, process.pid)
        failpoint("child_recorded")

    def _zygote_is_ready(self) -> bool:
        try:
            return self.launcher.is_ready()
        except OSError as error:
            log.error("zygote_not_started", reason=str(error))
            return False

    def _wait_for_zygote(self, child: Child, crashed: str | None) -> None:
        """Try the start again shortly. A missing zygote is not counted as a crash of the child."""
        child.status = Waiting(time.monotonic() + ZYGOTE_POLL_S, crashed)
        self.watch.tick_by(time.monotonic() + ZYGOTE_POLL_S)

    # -- ending --------------------------------------------------------------------------------

    def _stop(self, child: Child, *, again: bool) -> None:
        """Send SIGTERM; SIGKILL follows after the child's grace period. A second stop is harmless.

        `again`: start the child again after its end.
        """
        match child.status:
            case Starting(process) | Running(process):
                process.signal(signal.SIGTERM)
                child.status = Stopping(process, time.monotonic() + child.spec.grace_s, again)
                self.watch.tick_by(time.monotonic() + child.spec.grace_s)
            case Stopping(process, kill_at, _):
                child.status = Stopping(process, kill_at, again)
            case Waiting() | Quarantined():
                child.status = Idle()
                self._record_stopped(child.spec.name, "stopped")
                if again:
                    self._start(child)
            case Idle():
                if again:
                    self._start(child)

    def _on_unrequested_exit(self, child: Child, reason: str) -> None:
        """Restart at once or after a delay, whatever the exit code; quarantine a child that crashed too often."""
        child.status = Idle()
        if self.is_stopping:
            self._record_stopped(child.spec.name, reason)
            return
        now = time.monotonic()
        child.intensity = child.intensity.record(now)
        if child.intensity.is_exhausted(now):
            self._quarantine(child, reason, now)
            return
        # The first restart within a window is immediate.
        delay_s = self.backoff.pause_s(len(child.intensity.crashes) - 1, random.random())
        log.warning("child_restarted", actor=child.spec.name, reason=reason, delay_ms=round(delay_s * 1000))
        if delay_s == 0:
            self._start(child, crashed=reason)
            return
        child.status = Waiting(now + delay_s, reason)
        self.watch.tick_by(now + delay_s)
        records.backing_off(self.store, child.spec.name, reason)

    def _quarantine(self, child: Child, reason: str, now: float) -> None:
        """Quarantine a child that crashed too often: do not start it for a whole window, and reassign its task."""
        window_s = self.settings.intensity_window_s
        child.status = Quarantined(now + window_s)
        window = f"{window_s / 60:g} minutes" if window_s >= 120 else f"{window_s:g} s"
        why = f"{len(child.intensity.crashes)} crashes in {window}, the last by {reason}"
        log.error("child_quarantined", actor=child.spec.name, reason=why)
        records.quarantined(self.store, child.spec.name, why)

    def _record_stopped(self, name: str, reason: str) -> None:
        log.info("child_stopped", actor=name, reason=reason)
        records.stopped(self.store, name, reason)
