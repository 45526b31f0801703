"""The timer: sends a check-in when one comes due, once, also after sleep or a reboot."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim

from actors import log, mailbox
from actors.actor import Actor
from actors.messages import CheckIn
from store import crew, timers
from store.failpoints import failpoint
from store.timers import Timer

LONGEST_LOOK_S = 30.0  # monotonic waits stop while the machine sleeps: look at UTC at least this often


class TimerActor(Actor):
    """Its mailbox is only a wake: a new or cancelled timer changes when to look next."""

    def tick(self) -> float:
        """Fire what is due; returns when the next one is."""
        now = self.now()
        for timer in timers.due(self.store, now):
            self._fire(timer, now)
        due_at = timers.next_due_at(self.store)
        return min(now + LONGEST_LOOK_S, due_at if due_at is not None else now + LONGEST_LOOK_S)

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
    """The first time after `after` that the rule names, in UTC seconds. Raises `cronsim.CronSimError`.

    Cron's clock is local: cronsim handles the hours that daylight saving skips or repeats.
    """
    zone = ZoneInfo(timezone) if timezone else datetime.now(UTC).astimezone().tzinfo
    start = datetime.fromtimestamp(after, UTC).astimezone(zone)
    found = next(CronSim(expression, start), None)
    return None if found is None else found.timestamp()
