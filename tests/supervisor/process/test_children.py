"""What a child is like: forked from the zygote, ready in milliseconds, alone with its own descriptors."""

from __future__ import annotations

import json
from pathlib import Path

import psutil

from supervisor.process.zygote import LATE, PRELOAD
from tests.support.crews import Crew, children_with, descriptors, is_alive, send_signal
from tests.support.waiting import eventually

ZYGOTE = "nightcrew: zygote"


def test_an_actor_is_its_own_process_forked_from_a_preloaded_frozen_single_threaded_zygote(
    crew: Crew,
) -> None:
    server = crew.up()
    crew.want("a")
    pid = crew.running("a")
    facts = json.loads(crew.ask("a", "facts"))
    assert facts["parent"] == server.pid
    assert facts["session"], "a signal to the supervisor's terminal must not reach it"
    assert facts["frozen"] > 10_000
    assert len(facts["threads"]) == 2, facts["threads"]
    assert {name.partition(".")[0] for name in PRELOAD} <= set(facts["modules"])
    assert not set(LATE) & set(facts["modules"])
    assert psutil.Process(pid).cmdline()[0] == "nightcrew: a"
    (zygote,) = children_with(server.pid, ZYGOTE)
    assert len(list(Path(f"/proc/{zygote}/task").iterdir())) == 1


def test_a_child_holds_no_descriptor_of_an_earlier_child(crew: Crew) -> None:
    crew.up()
    names = ("a", "b", "c")
    crew.want(*names)
    counts = set()
    for name in names:
        crew.running(name)
        found = json.loads(crew.ask(name, "facts"))["descriptors"]
        # Its two threads read the store by one connection or by two, depending on what they do at the moment.
        counts.add(sum("crew.db" not in target for target in found))
        foreign = [f"/{other}.{end}" for other in names if other != name for end in ("lock", "log", "stderr")]
        assert not [target for target in found if target.endswith(tuple(foreign))]
    assert len(counts) == 1, counts


def test_twenty_actors_are_forks_of_one_zygote_and_none_starts_an_interpreter(crew: Crew) -> None:
    server = crew.up()
    names = [f"n{i}" for i in range(20)]
    crew.want(*names)
    crew.running(names[0])
    (zygote,) = children_with(server.pid, ZYGOTE)
    for name in names:
        crew.running(name)
        # Objects are frozen in the zygote before it forks; an interpreter of its own would have none.
        assert json.loads(crew.ask(name, "facts"))["frozen"] > 10_000
    assert children_with(server.pid, ZYGOTE) == [zygote]


def test_fifty_started_and_killed_children_leave_no_descriptor_in_the_supervisor_or_its_zygote(
    crew: Crew,
) -> None:
    crew.settings = {"intensity": 1_000, "backoff_first_s": 0.0, "backoff_max_s": 0.001}
    server = crew.up()
    crew.want("a", "b")
    crew.running("b")
    send_signal(crew.running("a"))
    pid = crew.running("a", generation=2)
    (zygote,) = children_with(server.pid, ZYGOTE)
    before = descriptors(server.pid), descriptors(zygote)
    for generation in range(3, 53):
        send_signal(pid)
        pid = crew.running("a", generation=generation)
    eventually(lambda: (descriptors(server.pid), descriptors(zygote)) == before, f"as before: {before}")
    dead = [c.pid for c in psutil.Process(server.pid).children() if c.status() == psutil.STATUS_ZOMBIE]
    assert dead == []


def test_processes_of_a_killed_actor_are_reaped_when_they_end(crew: Crew) -> None:
    server = crew.up()
    crew.want("a")
    pid = crew.running("a")
    orphan = int(crew.ask("a", "child"))
    send_signal(pid)
    crew.running("a", generation=2)
    send_signal(orphan)
    eventually(lambda: not psutil.pid_exists(orphan), "the supervisor has buried it")
    assert server.poll() is None


def test_a_killed_zygote_is_replaced_and_its_forks_keep_running(crew: Crew) -> None:
    server = crew.up()
    crew.want("a")
    pid = crew.running("a")
    (old,) = children_with(server.pid, ZYGOTE)
    send_signal(old)
    eventually(lambda: set(children_with(server.pid, ZYGOTE)) - {old}, "a new zygote is there")
    assert is_alive(pid)
    assert crew.ask("a", "say still here") == "still here"
    crew.want("b")
    crew.running("b")
    send_signal(pid)
    crew.running("a", generation=2)


def _next_zygote(server_pid: int, old: int) -> int:
    return eventually(lambda: set(children_with(server_pid, "zygote")) - {old}, "the next zygote").pop()


def test_a_zygote_that_is_killed_while_it_starts_does_not_take_the_supervisor_with_it(crew: Crew) -> None:
    server = crew.up()
    crew.want("a")
    pid = crew.running("a")
    (old,) = children_with(server.pid, ZYGOTE)
    for _ in range(3):
        send_signal(old)
        # The next one is found by its command line, before it has set its title: while it still imports.
        old = _next_zygote(server.pid, old)
    crew.want("b")
    crew.running("b", within_s=20)
    assert server.poll() is None
    assert crew.running("a") == pid
