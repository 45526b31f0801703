"""The process around an actor: wakes, the poll, a busy handler, real kills and real time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from actors.home import Home
from actors.runtime import mailbox
from actors.runtime.actor import POLL_S
from actors.runtime.addresses import HUMAN
from actors.runtime.messages import Text
from store import timers
from store.engine import Store
from store.states import MessageState
from tests.support.crews import Crew
from tests.support.stores import message
from tests.support.waiting import eventually


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    made = Crew(Home(tmp_path / "home"))
    made.open()
    yield made
    made.close()


def test_a_message_is_handled_within_milliseconds_of_its_commit(crew: Crew) -> None:
    crew.up()
    crew.want("a")
    crew.running("a")
    crew.ask("a", "say warm")
    started = time.monotonic()
    crew.ask("a", "say hello")
    assert time.monotonic() - started < 0.5


def test_a_lost_wake_is_made_good_by_the_poll(crew: Crew) -> None:
    crew.up()
    crew.want("a")
    crew.running("a")
    crew.ask("a", "say warm")
    silent = Store(crew.home.store)
    sent = mailbox.send(silent, HUMAN, "a", Text(text="say found"), now=time.time())
    silent.close()
    assert crew.answer(sent, within_s=POLL_S + 5) == "found"


def test_a_message_that_was_waiting_before_the_start_is_handled(crew: Crew) -> None:
    crew.want("a")
    sent = crew.tell("a", "say I was first")
    crew.up()
    assert crew.answer(sent) == "I was first"


def test_a_crew_in_a_home_longer_than_a_unix_address_is_woken(tmp_path: Path) -> None:
    crew = Crew(Home(tmp_path / ("ä" * 60) / "home"))
    crew.open()
    try:
        crew.up()
        crew.want("a")
        crew.running("a")
        crew.ask("a", "say warm")
        started = time.monotonic()
        crew.ask("a", "say hello")
        assert time.monotonic() - started < 1.0
    finally:
        crew.close()


def test_three_failures_in_a_real_process_make_a_dead_letter_in_the_time_of_its_pauses(crew: Crew) -> None:
    crew.up()
    crew.want("a")
    crew.running("a")
    sent = crew.tell("a", "raise")

    def is_dead() -> bool:
        return message(crew.store, sent).state == MessageState.DEAD

    # The pauses are 0.5 and 1 s; a poll takes ten.
    eventually(is_dead, "it is a dead letter", within_s=5)


def test_a_check_in_that_is_sooner_than_the_timers_next_look_is_not_late(crew: Crew) -> None:
    """The pump must learn of a new next look while it already waits for the old one."""
    crew.want("timer", kind="timer")
    crew.want("a")
    crew.up()
    crew.running("timer")
    crew.running("a")
    with crew.store.write() as tx:
        due_at = time.time() + 0.5
        timers.add(tx, recipient="a", note="", due_at=due_at, created_by=HUMAN, now=time.time())
    eventually(lambda: timers.listed(crew.store) == [], "it has fired", within_s=20)
    (fired,) = timers.listed(crew.store, everything=True)
    assert fired.fired_at is not None
    assert fired.fired_at - due_at < 1.0


def _switches(pid: int) -> int:
    return psutil.Process(pid).num_ctx_switches().voluntary


def test_an_idle_actor_sleeps(crew: Crew) -> None:
    crew.up()
    crew.want("a")
    pid = crew.running("a")
    crew.ask("a", "say warm")
    assert _switches_in(pid, 1.0) < 20


def test_the_pump_of_an_actor_in_a_long_step_does_not_spin(crew: Crew) -> None:
    """A model call lasts minutes: the other thread may not look into the store all that time."""
    crew.up()
    crew.want("a", kind="ignores_stop")
    pid = crew.running("a")
    mark = crew.home.path / "held"
    crew.tell("a", f"hold {mark}")
    eventually(mark.exists, "it is in the middle of a step")
    assert _switches_in(pid, 1.0) < 20


def test_the_pump_of_an_actor_does_not_spin_when_its_next_look_is_overdue(crew: Crew) -> None:
    """The step began as the very first work of the process, before any next look was set."""
    mark = crew.home.path / "held"
    crew.want("a", kind="ignores_stop")
    crew.tell("a", f"hold {mark}")
    crew.up()
    eventually(mark.exists, "it is in the middle of a step")
    assert _switches_in(crew.running("a"), 1.0) < 20


def _switches_in(pid: int, window_s: float) -> int:
    """Voluntary context switches of the process within a window of real time."""
    before, until = _switches(pid), time.monotonic() + window_s
    eventually(lambda: time.monotonic() >= until, "the window has passed", within_s=window_s + 5)
    return _switches(pid) - before
