"""Check-ins: due, late, missed, recurring, by cron across a change of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime.messages import CheckIn, decode
from actors.work.timer import MAX_PAUSE_S, TimerActor, next_cron, next_due
from store import crew, inbox, timers
from store.rows import Timer
from store.states import TimerState
from tests.actors.conftest import Stage, Start, Started
from tests.support.stores import NOW, add_agent


def _timer(
    due_at: float, *, every_s: float | None = None, cron: str | None = None, zone: str = "UTC"
) -> Timer:
    return Timer(
        1,
        "pm",
        "look",
        TimerState.ACTIVE,
        due_at,
        every_s,
        cron,
        zone,
        key=None,
        created_by="human",
        created_at=NOW,
        fired_at=None,
        fired_count=0,
    )


def _check_ins(stage: Stage) -> list[CheckIn]:
    found = [decode(row.body) for row in reversed(inbox.listed(stage.store, recipient="pm"))]
    return [message for message in found if isinstance(message, CheckIn)]


@pytest.fixture
def timer(stage: Stage, start: Start) -> Started:
    add_agent(stage.store, "pm")
    return start(TimerActor, "timer")


def _add(stage: Stage, in_s: float, *, every_s: float | None = None) -> int:
    with stage.store.write() as tx:
        return timers.add(
            tx,
            recipient="pm",
            note="look",
            due_at=stage.clock.now + in_s,
            created_by="human",
            now=stage.clock.now,
            every_s=every_s,
        )


def test_a_check_in_fires_when_it_is_due_and_not_before(stage: Stage, timer: Started) -> None:
    added = _add(stage, 60)
    stage.clock.now += 59.9
    timer.drain()
    assert _check_ins(stage) == []
    assert timer.runtime.coupling.next_wake_at == NOW + 60
    stage.clock.now += 0.1
    timer.drain()
    assert _check_ins(stage) == [CheckIn(timer=added, note="look", late_s=0.0)]


def test_a_missed_check_in_fires_once_and_says_how_late(stage: Stage, timer: Started) -> None:
    added = _add(stage, 60)
    stage.clock.now += 60 + 3_600
    for _ in range(3):
        timer.drain()
    assert _check_ins(stage) == [CheckIn(timer=added, note="look", late_s=3_600.0)]


def test_many_missed_recurrences_are_one_check_in_and_the_interval_stays(
    stage: Stage, timer: Started
) -> None:
    _add(stage, 600, every_s=600)
    stage.clock.now += 8 * 3_600 + 7
    timer.drain()
    timer.drain()
    assert [check_in.late_s for check_in in _check_ins(stage)] == [8 * 3_600 + 7 - 600]
    assert timers.next_due_at(stage.store) == NOW + 8 * 3_600 + 600


def test_a_cancelled_check_in_never_fires(stage: Stage, timer: Started) -> None:
    added = _add(stage, 60)
    with stage.store.write() as tx:
        timers.cancel(tx, added)
    stage.clock.now += 3_600
    timer.drain()
    assert _check_ins(stage) == []


def test_timer_compares_the_time_at_least_every_half_minute_because_waits_stop_in_sleep(
    stage: Stage, timer: Started
) -> None:
    _add(stage, 86_400)
    timer.drain()
    assert timer.runtime.coupling.next_wake_at <= NOW + MAX_PAUSE_S


def test_two_incarnations_of_the_timer_fire_a_check_in_once(
    stage: Stage, timer: Started, start: Start
) -> None:
    _add(stage, 60)
    stage.clock.now += 60
    successor = start(TimerActor, "timer")
    timer.drain()
    successor.drain()
    successor.drain()
    assert len(_check_ins(stage)) == 1


def test_a_check_in_for_an_agent_that_is_gone_is_harmless(stage: Stage, timer: Started) -> None:
    with stage.store.write() as tx:
        timers.add(tx, recipient="gone", note="", due_at=NOW, created_by="human", now=NOW)
    _add(stage, 0)
    timer.drain()
    assert len(_check_ins(stage)) == 1
    assert crew.find_agent(stage.store, "gone") is None


@given(
    due_at=st.floats(0, 1e9),
    every_s=st.floats(1, 1e6),
    late_s=st.floats(0, 1e7),
)
def test_the_next_recurrence_is_in_the_future_and_a_multiple_of_the_interval_away(
    due_at: float, every_s: float, late_s: float
) -> None:
    now = due_at + late_s
    following = next_due(_timer(due_at, every_s=every_s), now)
    assert following is not None
    assert now < following + 1e-3
    assert following <= now + every_s + 1e-3
    beats = (following - due_at) / every_s
    assert beats == pytest.approx(round(beats), abs=1e-3)


def test_a_one_shot_has_no_next_time() -> None:
    assert next_due(_timer(NOW), NOW + 5) is None


def _utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("rule", "zone", "after", "expected"),
    [
        ("0 8 * * *", "UTC", "2026-01-05T07:59:59", "2026-01-05T08:00:00"),
        ("0 8 * * *", "UTC", "2026-01-05T08:00:00", "2026-01-06T08:00:00"),
        ("*/30 * * * *", "UTC", "2026-01-05T07:59:59", "2026-01-05T08:00:00"),
        # Berlin is an hour ahead of UTC in winter, two in summer: eight o'clock stays eight o'clock.
        ("0 8 * * *", "Europe/Berlin", "2026-03-28T08:00:00", "2026-03-29T06:00:00"),
        ("0 8 * * *", "Europe/Berlin", "2026-10-24T08:00:00", "2026-10-25T07:00:00"),
        # 02:30 does not exist on the night in March, and comes twice on the one in October.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00", "2026-03-29T01:00:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00", "2026-10-26T01:30:00"),
    ],
)
def test_cron_follows_the_local_clock(rule: str, zone: str, after: str, expected: str) -> None:
    found = next_cron(rule, zone, _utc(after))
    assert found is not None
    assert datetime.fromtimestamp(found, UTC) == datetime.fromtimestamp(_utc(expected), UTC)


def test_an_invalid_cron_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="Wrong number of fields"):
        next_cron("every day", "UTC", NOW)
