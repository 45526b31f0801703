"""The slots of a model host, used by real processes that are killed and stopped."""

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

from actors.model.errors import ModelCancelled
from actors.model.hosts import capacity, slot_files, slots, tickets
from actors.model.hosts.capacity import Capacity
from actors.model.hosts.slot_files import Slot
from actors.model.hosts.slots import Slots
from actors.model.protocol import Cost
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[4]


class Worker:
    """One process that uses the slots of a host."""

    def __init__(self, folder: Path, who: str, kind: str = "long", slots: int = 1) -> None:
        words = ["-m", "tests.actors.model.hosts.slot_worker", str(folder), str(slots), who, kind]
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


class Workers:
    """Starts workers for one host; `enqueue` returns when a worker is in the queue."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack

    def worker(self, who: str, kind: str = "long", slots: int = 1) -> Worker:
        made = Worker(self.folder, who, kind, slots)
        self._stack.callback(made.close)
        return made

    def enqueue(self, worker: Worker) -> None:
        before = tickets.count(self.folder / "queue")
        worker.say("take")
        eventually(
            lambda: tickets.count(self.folder / "queue") == before + 1, f"{worker.who} waits", within_s=5
        )


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with ExitStack() as stack:
        yield Workers(tmp_path / "host", stack)


def test_a_free_slot_is_taken_at_once(workers: Workers) -> None:
    host, started = Slots(workers.folder, 1), time.monotonic()
    with host.acquire("e1", is_brief=False, cancelled=threading.Event()) as held:
        assert held.queue_ms < 50
        assert len(host.usage().in_use_by) == 1
    assert host.usage() == slots.SlotUsage(slots=1)
    assert time.monotonic() - started < 0.5


def test_never_more_at_once_than_slots(workers: Workers) -> None:
    started = [workers.worker(f"e{number}", slots=2) for number in range(3)]
    for worker in started[:2]:
        worker.say("take")
        assert worker.hears("got")
    workers.enqueue(started[2])
    assert not started[2].hears("got", 0.7)
    started[0].say("give")
    assert started[2].hears("got")


def test_engineers_are_served_in_the_order_of_their_arrival(workers: Workers) -> None:
    first, *rest = [workers.worker(f"e{number}") for number in range(4)]
    first.say("take")
    assert first.hears("got")
    for worker in rest:
        workers.enqueue(worker)
    for leaving, following in zip([first, *rest], rest, strict=False):
        leaving.say("give")
        assert following.hears("got"), following.who


def test_a_manager_goes_before_the_engineers_that_wait(workers: Workers) -> None:
    holder, engineer, manager = workers.worker("e1"), workers.worker("e2"), workers.worker("pm", "brief")
    holder.say("take")
    assert holder.hears("got")
    workers.enqueue(engineer)
    workers.enqueue(manager)
    holder.say("give")
    assert manager.hears("got")
    assert not engineer.hears("got", 0.3)


def test_an_engineer_past_its_deadline_goes_before_managers(workers: Workers) -> None:
    workers.folder.mkdir()
    queue = workers.folder / "queue"
    # It has waited so long that its deadline is before that of a manager that comes now.
    engineer = tickets.Ticket(queue, "e1", -1.0)
    manager = tickets.Ticket(queue, "pm", 0.0)
    assert engineer.ahead() is None
    assert "e1" in (manager.ahead() or "")
    engineer.close()
    assert manager.ahead() is None
    manager.close()


def test_a_killed_holders_slot_goes_to_the_next_within_a_quarter_second(workers: Workers) -> None:
    holder, waiter = workers.worker("e1"), workers.worker("e2")
    holder.say("take")
    assert holder.hears("got")
    workers.enqueue(waiter)
    killed_at = time.monotonic()
    holder.signal(signal.SIGKILL)
    assert waiter.hears("got")
    assert time.monotonic() - killed_at < 0.25


def test_a_killed_waiter_delays_nobody(workers: Workers) -> None:
    holder, dead, waiter = (workers.worker(f"e{number}") for number in range(3))
    holder.say("take")
    assert holder.hears("got")
    workers.enqueue(dead)
    workers.enqueue(waiter)
    dead.signal(signal.SIGKILL)
    dead.process.wait()
    holder.say("give")
    assert waiter.hears("got", 1.0)


def test_a_stopped_waiter_is_passed_over(workers: Workers) -> None:
    holder, stopped, waiter = (workers.worker(f"e{number}") for number in range(3))
    holder.say("take")
    assert holder.hears("got")
    workers.enqueue(stopped)
    workers.enqueue(waiter)
    stopped.signal(signal.SIGSTOP)
    holder.say("give")
    assert waiter.hears("got", 3.0)
    stopped.signal(signal.SIGCONT)
    waiter.say("give")
    assert stopped.hears("got", 3.0)


def test_a_stopped_holder_keeps_its_slot_and_its_death_frees_it(workers: Workers) -> None:
    holder, waiter = workers.worker("e1"), workers.worker("e2")
    holder.say("take")
    assert holder.hears("got")
    workers.enqueue(waiter)
    holder.signal(signal.SIGSTOP)
    assert not waiter.hears("got", 0.7)
    holder.signal(signal.SIGKILL)
    assert waiter.hears("got", 1.0)


def test_waiting_ends_within_200_ms_of_a_cancellation(workers: Workers) -> None:
    host, cancelled = Slots(workers.folder, 1), threading.Event()
    ended: list[float] = []

    def wait() -> None:
        with pytest.raises(ModelCancelled), host.acquire("e2", is_brief=False, cancelled=cancelled):
            pass
        ended.append(time.monotonic())

    with host.acquire("e1", is_brief=False, cancelled=threading.Event()):
        thread = threading.Thread(target=wait)
        thread.start()
        eventually(lambda: tickets.count(workers.folder / "queue"), "e2 waits")
        asked_at = time.monotonic()
        cancelled.set()
        thread.join(5)
    assert ended[0] - asked_at < 0.2
    assert tickets.count(workers.folder / "queue") == 0


def test_an_agent_that_returns_at_once_gets_its_slot_again_a_limited_number_of_times(
    workers: Workers,
) -> None:
    warm, other = workers.worker("e1"), workers.worker("e2")
    warm.say("take")
    assert warm.hears("got")
    workers.enqueue(other)
    for _ in range(slot_files.MAX_TURNS - 1):
        warm.say("give again")
        warm.say("take")
        assert warm.hears("gave")
        assert warm.hears("got", 0.2)
    warm.say("give again")
    assert other.hears("got", 0.5)


def test_a_reserved_slot_goes_to_the_next_when_its_agent_does_not_return(workers: Workers) -> None:
    warm, other = workers.worker("e1"), workers.worker("e2")
    warm.say("take")
    assert warm.hears("got")
    workers.enqueue(other)
    warm.say("give again")
    gave_at = time.monotonic()
    assert other.hears("got", 2.0)
    assert time.monotonic() - gave_at >= slot_files.RESERVED_S * 0.8


def test_the_waiting_time_is_reported_while_waiting_and_with_the_slot(workers: Workers) -> None:
    host, waits = Slots(workers.folder, 1), list[float]()
    holder = workers.worker("e1")
    holder.say("take")
    assert holder.hears("got")

    def on_wait(waited_s: float) -> None:
        waits.append(waited_s)
        if waited_s > slots.CHECK_QUEUE_S:
            holder.say("give")

    with host.acquire("e2", is_brief=True, cancelled=threading.Event(), on_wait=on_wait) as held:
        assert held.queue_ms >= slots.CHECK_QUEUE_S * 1e3
    assert len(waits) >= 2


def test_twenty_agents_share_a_slot_evenly(workers: Workers) -> None:
    host, turns, over = Slots(workers.folder, 1), dict[str, int](), threading.Event()
    inside = threading.Lock()

    def work(who: str) -> None:
        while not over.is_set():
            with host.acquire(who, is_brief=False, cancelled=threading.Event()):
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
    fewer = capacity.learn(known, started_at=101.0, now=110.0, queued_ms=5_000, others_wait=True)
    assert fewer == Capacity(3, 4, 110.0)
    # A request from before the change was queued behind requests that are no longer sent.
    assert capacity.learn(fewer, started_at=105.0, now=111.0, queued_ms=5_000, others_wait=True) == fewer


def test_a_server_that_keeps_up_gets_more_while_agents_wait_but_not_a_number_that_was_too_high() -> None:
    known = Capacity(4, None, 100.0)
    assert capacity.learn(known, started_at=101.0, now=110.0, queued_ms=3, others_wait=False) == known
    assert capacity.learn(known, started_at=101.0, now=110.0, queued_ms=3, others_wait=True).slots == 5
    lowered = Capacity(3, 4, 110.0)
    assert capacity.learn(lowered, started_at=111.0, now=120.0, queued_ms=3, others_wait=True) == lowered
    later = 111.0 + capacity.FORGET_S
    assert capacity.learn(lowered, started_at=later, now=later, queued_ms=3, others_wait=True).slots == 4


def test_never_fewer_than_one_nor_more_than_the_limit() -> None:
    one = Capacity(1, 2, 0.0)
    assert capacity.learn(one, started_at=1.0, now=2.0, queued_ms=9e9, others_wait=True) == one
    most = Capacity(capacity.MAX_SLOTS, None, 0.0)
    assert capacity.learn(most, started_at=1.0, now=2.0, queued_ms=0, others_wait=True) == most


def test_a_server_that_reports_no_times_teaches_nothing() -> None:
    assert capacity.queued_in_server_ms(Cost(prompt_tokens=10)) is None
    assert capacity.queued_in_server_ms(
        Cost(load_ms=10, prefill_ms=100, generation_ms=300, total_ms=2_410)
    ) == pytest.approx(2_000)


def test_slots_without_a_configured_number_learn_it_for_all_processes(workers: Workers) -> None:
    host = Slots(workers.folder, 0)
    assert host.capacity() == capacity.START
    with host.acquire("e1", is_brief=False, cancelled=threading.Event()) as held:
        held.cost = Cost(load_ms=0, prefill_ms=10, generation_ms=10, total_ms=9_000)
    assert Slots(workers.folder, 0).capacity() == capacity.START - 1


def test_a_damaged_file_is_ignored(workers: Workers) -> None:
    workers.folder.mkdir()
    (workers.folder / "capacity.json").write_text('{"slots": 3, "too_')
    (workers.folder / "slot-0").write_text("e1 3")
    host = Slots(workers.folder, 0)
    assert host.capacity() == capacity.START
    with host.acquire("e1", is_brief=False, cancelled=threading.Event()) as held:
        assert isinstance(held, Slot)


def test_a_slot_is_not_inherited_by_a_command(workers: Workers) -> None:
    host = Slots(workers.folder, 1)
    with host.acquire("e1", is_brief=False, cancelled=threading.Event()) as held:
        assert not os.get_inheritable(held.descriptor)
