"""The gate before a model host, by real processes that are killed and stopped."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from actors.model import capacity, slots, tickets
from actors.model.capacity import Capacity
from actors.model.errors import ModelCancelled
from actors.model.protocol import Cost
from actors.model.slots import Slot, SlotGate
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]


class Worker:
    """One process at the gate."""

    def __init__(self, folder: Path, who: str, kind: str = "long", slots: int = 1) -> None:
        words = ["-m", "tests.actors.model.gate_worker", str(folder), str(slots), who, kind]
        self.who = who
        self.process = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert self.hears("ready", 20)

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())

    def hears(self, word: str, within_s: float = 5.0) -> bool:
        """Whether its next line begins with `word`; False if none comes in time."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], within_s)
        if not ready:
            return False
        line = self.process.stdout.readline().decode()
        assert line.startswith(word), line
        return True

    def signal(self, number: signal.Signals) -> None:
        assert self.process.pid > 1
        self.process.send_signal(number)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


class Gatehouse:
    """Makes workers at one gate; `line_up` has one wait until it stands in line."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack

    def worker(self, who: str, kind: str = "long", slots: int = 1) -> Worker:
        made = Worker(self.folder, who, kind, slots)
        self._stack.callback(made.close)
        return made

    def line_up(self, worker: Worker) -> None:
        before = tickets.waiting(self.folder / "queue")
        worker.say("take")
        eventually(
            lambda: tickets.waiting(self.folder / "queue") == before + 1, f"{worker.who} waits", within_s=5
        )


@pytest.fixture
def gates(tmp_path: Path) -> Iterator[Gatehouse]:
    with ExitStack() as stack:
        yield Gatehouse(tmp_path / "host", stack)


def test_a_free_slot_is_taken_at_once(gates: Gatehouse) -> None:
    gate, started = SlotGate(gates.folder, 1), time.monotonic()
    with gate.slot("e1", brief=False, cancelled=threading.Event()) as held:
        assert held.queue_ms < 50
        assert len(gate.crowd().in_use_by) == 1
    assert gate.crowd() == slots.Crowd(slots=1)
    assert time.monotonic() - started < 0.5


def test_never_more_at_once_than_slots(gates: Gatehouse) -> None:
    workers = [gates.worker(f"e{number}", slots=2) for number in range(3)]
    for worker in workers[:2]:
        worker.say("take")
        assert worker.hears("got")
    gates.line_up(workers[2])
    assert not workers[2].hears("got", 0.7)
    workers[0].say("give")
    assert workers[2].hears("got")


def test_engineers_are_served_in_the_order_in_which_they_came(gates: Gatehouse) -> None:
    first, *rest = [gates.worker(f"e{number}") for number in range(4)]
    first.say("take")
    assert first.hears("got")
    for worker in rest:
        gates.line_up(worker)
    for leaving, following in zip([first, *rest], rest, strict=False):
        leaving.say("give")
        assert following.hears("got"), following.who


def test_a_manager_goes_before_the_engineers_that_wait(gates: Gatehouse) -> None:
    holder, engineer, manager = gates.worker("e1"), gates.worker("e2"), gates.worker("pm", "brief")
    holder.say("take")
    assert holder.hears("got")
    gates.line_up(engineer)
    gates.line_up(manager)
    holder.say("give")
    assert manager.hears("got")
    assert not engineer.hears("got", 0.3)


def test_an_engineer_that_waited_its_patience_goes_before_managers(gates: Gatehouse) -> None:
    gates.folder.mkdir()
    queue = gates.folder / "queue"
    # In its place by name alone: it came so long ago that a manager of now is late later than it is.
    engineer = tickets.Ticket(queue, "e1", -1.0)
    manager = tickets.Ticket(queue, "pm", 0.0)
    assert engineer.ahead() is None
    assert "e1" in (manager.ahead() or "")
    engineer.close()
    assert manager.ahead() is None
    manager.close()


def test_a_killed_holders_slot_goes_to_the_next_within_a_quarter_second(gates: Gatehouse) -> None:
    holder, waiter = gates.worker("e1"), gates.worker("e2")
    holder.say("take")
    assert holder.hears("got")
    gates.line_up(waiter)
    killed_at = time.monotonic()
    holder.signal(signal.SIGKILL)
    assert waiter.hears("got")
    assert time.monotonic() - killed_at < 0.25


def test_a_killed_waiter_holds_nobody_up(gates: Gatehouse) -> None:
    holder, dead, waiter = (gates.worker(f"e{number}") for number in range(3))
    holder.say("take")
    assert holder.hears("got")
    gates.line_up(dead)
    gates.line_up(waiter)
    dead.signal(signal.SIGKILL)
    dead.process.wait()
    holder.say("give")
    assert waiter.hears("got", 1.0)


def test_a_stopped_waiter_is_passed_by(gates: Gatehouse) -> None:
    holder, stopped, waiter = (gates.worker(f"e{number}") for number in range(3))
    holder.say("take")
    assert holder.hears("got")
    gates.line_up(stopped)
    gates.line_up(waiter)
    stopped.signal(signal.SIGSTOP)
    holder.say("give")
    assert waiter.hears("got", 3.0)
    stopped.signal(signal.SIGCONT)
    waiter.say("give")
    assert stopped.hears("got", 3.0)


def test_a_stopped_holder_keeps_its_slot_and_its_death_frees_it(gates: Gatehouse) -> None:
    holder, waiter = gates.worker("e1"), gates.worker("e2")
    holder.say("take")
    assert holder.hears("got")
    gates.line_up(waiter)
    holder.signal(signal.SIGSTOP)
    assert not waiter.hears("got", 0.7)
    holder.signal(signal.SIGKILL)
    assert waiter.hears("got", 1.0)


def test_waiting_ends_within_200_ms_of_a_cancellation(gates: Gatehouse) -> None:
    gate, cancelled = SlotGate(gates.folder, 1), threading.Event()
    ended: list[float] = []

    def wait() -> None:
        with pytest.raises(ModelCancelled), gate.slot("e2", brief=False, cancelled=cancelled):
            pass
        ended.append(time.monotonic())

    with gate.slot("e1", brief=False, cancelled=threading.Event()):
        thread = threading.Thread(target=wait)
        thread.start()
        eventually(lambda: tickets.waiting(gates.folder / "queue"), "e2 waits")
        asked_at = time.monotonic()
        cancelled.set()
        thread.join(5)
    assert ended[0] - asked_at < 0.2
    assert tickets.waiting(gates.folder / "queue") == 0


def test_who_comes_back_at_once_has_its_warm_slot_again_but_not_for_ever(gates: Gatehouse) -> None:
    warm, other = gates.worker("e1"), gates.worker("e2")
    warm.say("take")
    assert warm.hears("got")
    gates.line_up(other)
    for _ in range(slots.WARM_TURNS - 1):
        warm.say("give again")
        warm.say("take")
        assert warm.hears("gave")
        assert warm.hears("got", 0.2)
    warm.say("give again")
    assert other.hears("got", 0.5)


def test_a_kept_slot_goes_to_the_next_when_its_agent_does_not_come_back(gates: Gatehouse) -> None:
    warm, other = gates.worker("e1"), gates.worker("e2")
    warm.say("take")
    assert warm.hears("got")
    gates.line_up(other)
    warm.say("give again")
    gave_at = time.monotonic()
    assert other.hears("got", 2.0)
    assert time.monotonic() - gave_at >= slots.WARM_S * 0.8


def test_a_waiter_hears_how_long_it_has_waited_and_the_time_is_told(gates: Gatehouse) -> None:
    gate, waits = SlotGate(gates.folder, 1), list[float]()
    holder = gates.worker("e1")
    holder.say("take")
    assert holder.hears("got")

    def on_wait(waited_s: float) -> None:
        waits.append(waited_s)
        if waited_s > slots.LOOK_S:
            holder.say("give")

    with gate.slot("e2", brief=True, cancelled=threading.Event(), on_wait=on_wait) as held:
        assert held.queue_ms >= slots.LOOK_S * 1e3
    assert len(waits) >= 2


def test_twenty_agents_share_a_slot_evenly(gates: Gatehouse) -> None:
    gate, turns, over = SlotGate(gates.folder, 1), dict[str, int](), threading.Event()
    inside = threading.Lock()

    def work(who: str) -> None:
        while not over.is_set():
            with gate.slot(who, brief=False, cancelled=threading.Event()):
                assert inside.acquire(blocking=False), "two in one slot"
                turns[who] = turns.get(who, 0) + 1
                if sum(turns.values()) >= 100:
                    over.set()
                inside.release()

    threads = [threading.Thread(target=work, args=(f"e{number}",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(turns) == 20
    assert max(turns.values()) <= 3 * min(turns.values()) + 3


# -- how many at once ------------------------------------------------------------------------------


def test_a_server_that_makes_requests_wait_gets_fewer() -> None:
    known = Capacity(4, None, 100.0)
    fewer = capacity.learn(known, began_at=101.0, now=110.0, waited_ms=5_000, more=True)
    assert fewer == Capacity(3, 4, 110.0)
    # A request from before the change waited behind what is no longer there.
    assert capacity.learn(fewer, began_at=105.0, now=111.0, waited_ms=5_000, more=True) == fewer


def test_a_server_that_keeps_up_gets_more_while_agents_wait_and_not_what_was_too_many() -> None:
    known = Capacity(4, None, 100.0)
    assert capacity.learn(known, began_at=101.0, now=110.0, waited_ms=3, more=False) == known
    assert capacity.learn(known, began_at=101.0, now=110.0, waited_ms=3, more=True).slots == 5
    burnt = Capacity(3, 4, 110.0)
    assert capacity.learn(burnt, began_at=111.0, now=120.0, waited_ms=3, more=True) == burnt
    later = 111.0 + capacity.FORGET_S
    assert capacity.learn(burnt, began_at=later, now=later, waited_ms=3, more=True).slots == 4


def test_never_fewer_than_one_nor_more_than_the_most() -> None:
    one = Capacity(1, 2, 0.0)
    assert capacity.learn(one, began_at=1.0, now=2.0, waited_ms=9e9, more=True) == one
    most = Capacity(capacity.MOST, None, 0.0)
    assert capacity.learn(most, began_at=1.0, now=2.0, waited_ms=0, more=True) == most


def test_a_server_that_reports_no_times_teaches_nothing() -> None:
    assert capacity.waited_in_server_ms(Cost(prompt_tokens=10)) is None
    assert capacity.waited_in_server_ms(
        Cost(load_ms=10, prefill_ms=100, generation_ms=300, total_ms=2_410)
    ) == pytest.approx(2_000)


def test_a_gate_without_a_configured_number_learns_it_for_all_processes(gates: Gatehouse) -> None:
    gate = SlotGate(gates.folder, 0)
    assert gate.capacity() == capacity.START
    with gate.slot("e1", brief=False, cancelled=threading.Event()) as held:
        held.cost = Cost(load_ms=0, prefill_ms=10, generation_ms=10, total_ms=9_000)
    assert SlotGate(gates.folder, 0).capacity() == capacity.START - 1


def test_a_torn_file_is_as_good_as_none(gates: Gatehouse) -> None:
    gates.folder.mkdir()
    (gates.folder / "capacity.json").write_text('{"slots": 3, "too_')
    (gates.folder / "slot-0").write_text("e1 3")
    gate = SlotGate(gates.folder, 0)
    assert gate.capacity() == capacity.START
    with gate.slot("e1", brief=False, cancelled=threading.Event()) as held:
        assert isinstance(held, Slot)


def test_a_slot_is_not_inherited_by_a_command(gates: Gatehouse) -> None:
    gate = SlotGate(gates.folder, 1)
    with gate.slot("e1", brief=False, cancelled=threading.Event()) as held:
        assert not os.get_inheritable(held.descriptor)
