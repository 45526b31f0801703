"""The timer: sends a check-in when one comes due, once, also after sleep or a reboot.

Between them it makes its rounds: is there room on the disk, and does work lie where somebody is idle?
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
from actors.work.stalls import Rounds
from store import crew, facts, incidents, timers
from store.engine import Transaction
from store.facts import DiskShort
from store.failpoints import failpoint
from store.rows import Timer
from store.states import IncidentKind

LONGEST_LOOK_S = 30.0  # monotonic waits stop while the machine sleeps: look at UTC at least this often
DISK_LOOK_S = 10.0


class TimerActor(MessageActor):
    """Its mailbox is only a wake: a new or cancelled timer changes when to look next."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        config = runtime.config
        self.rounds = Rounds(
            runtime.store, runtime.fence, config.supervisor.stall_s, self.now() + config.supervisor.stall_s
        )
        self.room = DiskWatch([runtime.home.path], config.retention.min_free_mb)
        self.was_short: bool | None = None

    def tick(self) -> float:
        """Fire what is due and make the rounds; returns when the next one is."""
        now = self.now()
        for timer in timers.due(self.store, now):
            self._fire(timer, now)
        self._look_at_the_disk(now)
        due_at = timers.next_due_at(self.store)
        looks = [now + LONGEST_LOOK_S, self.rounds.look(now)]
        if self.room.min_free_mb:
            looks.append(now + DISK_LOOK_S)
        return min([*looks, *([] if due_at is None else [due_at])])

    def _look_at_the_disk(self, now: float) -> None:
        """Say it to people when the crew begins to wait for room, and when it goes on."""
        short = self.room.check()
        if self.was_short is None:
            self.was_short = facts.get(self.store, facts.DISK_SHORT) is not None
        if (short is not None) == self.was_short:
            return
        log.warning("disk_short" if short else "disk_has_room", path=str(self.runtime.home.path))
        with self.write() as tx:
            self._note_room(tx, short, now)
        self.was_short = short is not None

    def _note_room(self, tx: Transaction, short: FreeSpace | None, now: float) -> None:
        if short is None:
            facts.drop(tx, facts.DISK_SHORT)
            incidents.record(tx, IncidentKind.DISK_HAS_ROOM, now=now)
            return
        path, free_mb, least_mb = str(short.path), short.free_bytes // MB, self.room.min_free_mb
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
        """One transaction: the check-in is sent and the timer moved on, or neither."""
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
    """After a firing at `now`: the next due time in the future, so that missed ones coalesce into one."""
    if timer.every_s is not None:
        missed = int((now - timer.due_at) // timer.every_s) if now > timer.due_at else 0
        return timer.due_at + (missed + 1) * timer.every_s
    if timer.cron is not None:
        return next_cron(timer.cron, timer.timezone, now)
    return None


def next_cron(expression: str, timezone: str | None, after: float) -> float | None:
    """The first time after `after` that the rule names, in UTC seconds. Raises ValueError for an invalid rule.

    Cron's clock is local: cronsim handles the hours that daylight saving skips or repeats.
    """
    zone = ZoneInfo(timezone) if timezone else datetime.now(UTC).astimezone().tzinfo
    start = datetime.fromtimestamp(after, UTC).astimezone(zone)
    try:
        found = next(CronSim(expression, start), None)
    except CronSimError as error:
        raise ValueError(str(error)) from error
    return None if found is None else found.timestamp()
