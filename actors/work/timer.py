"""The timer actor: sends each check-in once when it is due, also after sleep or a reboot.

In between it checks the disk space and looks for stalled work.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from actors import log
from actors.disk import MB, DiskWatch, FreeSpace
from actors.runtime import mailbox
from actors.runtime.context import Runtime
from actors.runtime.handler import MessageActor
from actors.runtime.messages import CheckIn
from actors.work.stalls import StallCheck
from store import crew, facts, incidents, timers
from store.engine import Transaction
from store.facts import DiskShort
from store.failpoints import failpoint
from store.rows import Timer
from store.states import IncidentKind

MAX_PAUSE_S = 30.0  # waits stop while the machine sleeps, so the time is compared at least this often
DISK_CHECK_S = 10.0


class TimerActor(MessageActor):
    """A message to it only wakes it: a timer was added or cancelled, so the next time to run may have changed."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        config = runtime.config
        stall_s = config.supervisor.stall_s
        self._stalls = StallCheck(runtime.store, runtime.fence, stall_s, self.now() + stall_s)
        self._disk = DiskWatch([runtime.home.path], config.retention.min_free_mb)
        self._was_short: bool | None = None

    def tick(self) -> float:
        """Fire the timers that are due and run the checks that are due; returns when the next one is."""
        now = self.now()
        for timer in timers.due(self.store, now):
            self._fire(timer, now)
        self._check_disk(now)
        next_at = [now + MAX_PAUSE_S, self._stalls.run_if_due(now)]
        if self._disk.min_free_mb:
            next_at.append(now + DISK_CHECK_S)
        due_at = timers.next_due_at(self.store)
        return min(next_at if due_at is None else [*next_at, due_at])

    def _check_disk(self, now: float) -> None:
        """Record when the disk becomes nearly full, so that the crew waits, and when that is over."""
        short = self._disk.check()
        if self._was_short is None:
            self._was_short = facts.get(self.store, facts.DISK_SHORT) is not None
        if (short is not None) == self._was_short:
            return
        log.warning("disk_short" if short else "disk_has_room", path=str(self.runtime.home.path))
        with self.write() as tx:
            self._record_disk(tx, short, now)
        self._was_short = short is not None

    def _record_disk(self, tx: Transaction, short: FreeSpace | None, now: float) -> None:
        if short is None:
            facts.drop(tx, facts.DISK_SHORT)
            incidents.record(tx, IncidentKind.DISK_HAS_ROOM, now=now)
            return
        path, free_mb, least_mb = str(short.path), short.free_bytes // MB, self._disk.min_free_mb
        fact = DiskShort(path=path, free_mb=free_mb, least_mb=least_mb)
        facts.put(tx, facts.DISK_SHORT, fact, now=now)
        incidents.record(
            tx,
            IncidentKind.DISK_SHORT,
            now=now,
            needs_human=True,
            path=path,
            free_mb=free_mb,
            least_mb=least_mb,
        )

    def _fire(self, timer: Timer, now: float) -> None:
        """Send the check-in and set the timer's next time, in one transaction."""
        late_s = max(0.0, now - timer.due_at)
        failpoint("timer_due")
        with self.write() as tx:
            if not timers.record_fired(tx, timer, now=now, next_due_at=next_due(timer, now)):
                return
            recipient = crew.find_agent(tx, timer.recipient)
            if recipient is not None:
                mailbox.post(
                    tx,
                    self.runtime.name,
                    timer.recipient,
                    CheckIn(timer=timer.id, note=timer.note, late_s=round(late_s, 3)),
                    now=now,
                    key=f"timer:{timer.id}:{timer.fired_count}",
                )
        failpoint("timer_fired")
        log.info("timer_fired", timer=timer.id, recipient=timer.recipient, late_ms=round(late_s * 1000))


def next_due(timer: Timer, now: float) -> float | None:
    """When a timer that fired at `now` is due again; None if never. Times that were missed are left out."""
    if timer.every_s is not None:
        missed = int((now - timer.due_at) // timer.every_s) if now > timer.due_at else 0
        return timer.due_at + (missed + 1) * timer.every_s
    if timer.cron is not None:
        return next_cron(timer.cron, timer.timezone, now)
    return None


def next_cron(expression: str, timezone: str | None, after: float) -> float | None:
    """The first time after `after` that matches a cron rule, in UTC seconds. Raises ValueError for an invalid rule.

    Cron rules are in local time. cronsim handles the hours that daylight saving skips or repeats.
    """
    zone = ZoneInfo(timezone) if timezone else datetime.now(UTC).astimezone().tzinfo
    start = datetime.fromtimestamp(after, UTC).astimezone(zone)
    try:
        found = next(CronSim(expression, start), None)
    except CronSimError as error:
        raise ValueError(str(error)) from error
    return None if found is None else found.timestamp()
