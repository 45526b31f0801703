"""Timers as rows: due, fired once, cancelled."""

from __future__ import annotations

from typing import Any

import pytest

from store import timers
from store.engine import Store
from store.rows import Timer
from tests.support.stores import NOW


def _add(store: Store, due_at: float, **values: Any) -> int:
    columns: dict[str, Any] = {"recipient": "pm", "note": "look", "created_by": "human", "now": NOW}
    with store.write() as tx:
        return timers.add(tx, **(columns | values), due_at=due_at)


def _due(store: Store, now: float) -> list[int]:
    return [timer.id for timer in timers.due(store, now)]


def _fire(store: Store, timer: Timer, *, next_due_at: float | None) -> bool:
    with store.write() as tx:
        return timers.record_fired(tx, timer, now=NOW, next_due_at=next_due_at)


def test_a_timer_is_due_from_its_time_on_and_the_most_overdue_comes_first(store: Store) -> None:
    later, sooner = _add(store, NOW + 20), _add(store, NOW + 10)
    assert _due(store, NOW + 9.9) == []
    assert _due(store, NOW + 10) == [sooner]
    assert _due(store, NOW + 1000) == [sooner, later]
    assert timers.next_due_at(store) == NOW + 10


def test_without_timers_nothing_is_due(store: Store) -> None:
    assert timers.next_due_at(store) is None
    assert timers.due(store, NOW) == []


def test_a_one_shot_fires_once(store: Store) -> None:
    _add(store, NOW)
    (timer,) = timers.due(store, NOW)
    assert _fire(store, timer, next_due_at=None)
    assert not _fire(store, timer, next_due_at=None)
    assert timers.due(store, NOW + 1e9) == []
    (row,) = timers.listed(store, everything=True)
    assert (row.state, row.fired_count, row.fired_at) == ("fired", 1, NOW)


def test_a_recurrence_fires_once_for_each_due_time(store: Store) -> None:
    _add(store, NOW, every_s=60.0)
    (timer,) = timers.due(store, NOW)
    assert _fire(store, timer, next_due_at=NOW + 60)
    assert not _fire(store, timer, next_due_at=NOW + 60), "a second timer's incarnation saw the same row"
    assert timers.due(store, NOW + 59) == []
    (again,) = timers.due(store, NOW + 60)
    assert again.fired_count == 1
    assert _fire(store, again, next_due_at=NOW + 120)


def test_a_timer_cancelled_between_the_look_and_the_firing_does_not_fire(store: Store) -> None:
    added = _add(store, NOW)
    (timer,) = timers.due(store, NOW)
    with store.write() as tx:
        assert timers.cancel(tx, added)
    assert not _fire(store, timer, next_due_at=None)


def test_only_an_active_timer_can_be_cancelled(store: Store) -> None:
    added = _add(store, NOW)
    with store.write() as tx:
        assert timers.cancel(tx, added)
        assert not timers.cancel(tx, added)
        assert not timers.cancel(tx, 99)
    assert timers.listed(store) == []


def test_the_same_key_again_is_the_first_timer(store: Store) -> None:
    first = _add(store, NOW, key="k")
    assert _add(store, NOW + 5, key="k") == first
    assert timers.next_due_at(store) == NOW


def test_the_timers_of_those_who_ended_are_cancelled_and_no_others(store: Store) -> None:
    _add(store, NOW, recipient="a")
    kept = _add(store, NOW, recipient="b")
    with store.write() as tx:
        timers.cancel_for(tx, ["a", "c"])
    assert _due(store, NOW) == [kept]


@pytest.mark.parametrize("change", ["add", "cancel"])
def test_the_timer_actor_is_woken_by_a_change(store: Store, change: str) -> None:
    added = _add(store, NOW)
    with store.write() as tx:
        if change == "add":
            timers.add(tx, recipient="a", note="", due_at=NOW, created_by="", now=NOW)
        else:
            timers.cancel(tx, added)
        assert tx.recipients == {"timer"}
