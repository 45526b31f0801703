"""kill -9 of an actor, the supervisor and what is left of both; ordered stops; crashes over and over."""

from __future__ import annotations

import json
import signal
import time

import pytest

from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN, SUPERVISOR
from actors.runtime.messages import RestartAgent
from store import crew as rows
from store import inbox, incidents
from store.states import MessageState, Role
from tests.support.crews import Crew, children_with, is_alive, processes_of, send_signal
from tests.support.stores import NOW, add_project, message
from tests.support.waiting import eventually


def _hold(crew: Crew, name: str) -> tuple[int, str]:
    """Have `name` work on a message that does not end; returns its id and the path that ends it."""
    mark = crew.home.path / f"held-{name}"
    sent = crew.tell(name, f"hold {mark}")
    eventually(mark.exists, f"{name} is in the middle of its message")
    return sent, str(mark.with_suffix(".go"))


def _is_handled(crew: Crew, message_id: int) -> None:
    def state() -> bool:
        return message(crew.store, message_id).state == MessageState.HANDLED

    eventually(state, f"message {message_id} is handled")


# -- an actor ------------------------------------------------------------------------------------


def test_a_killed_actor_comes_back_with_the_next_generation_and_handles_its_message_once(crew: Crew) -> None:
    crew.up()
    crew.want("a")
    pid = crew.running("a")
    send_signal(pid)
    sent = crew.tell("a", "say hello")
    assert crew.answer(sent) == "hello"
    row = crew.row("a")
    assert (row.generation, row.restarts) == (2, 1)
    assert row.pid != pid
    assert len(inbox.replies(crew.store, sent)) == 1
    assert incidents.counts(crew.store)["agent_restarted"] == 1


def test_a_message_claimed_by_a_killed_actor_is_delivered_again_and_handled_once(crew: Crew) -> None:
    crew.up()
    crew.want("a")
    pid = crew.running("a")
    sent, go = _hold(crew, "a")
    send_signal(pid)
    crew.running("a", generation=2)
    with open(go, "w"):
        pass
    _is_handled(crew, sent)
    row = inbox.get(crew.store, sent)
    assert row is not None
    assert (row.claim_generation, row.attempts) == (2, 0)


@pytest.mark.parametrize("words", ["exit 0", "exit 3", "kill"])
def test_a_permanent_actor_is_restarted_whatever_its_exit(crew: Crew, words: str) -> None:
    crew.up()
    crew.want("a")
    crew.running("a")
    sent = crew.tell("a", words)
    crew.running("a", generation=2)
    with crew.store.write() as tx:
        inbox.withdraw(tx, sent, reason="enough", now=NOW)


def test_a_stopped_actor_past_its_deadline_is_killed_and_resumes(crew: Crew) -> None:
    crew.up()
    crew.want("a")
    pid = crew.running("a")
    send_signal(pid, signal.SIGSTOP)
    with crew.store.write() as tx:
        rows.change_agent(tx, "a", deadline_at=time.time() - 1)
    crew.running("a", generation=2)
    assert not is_alive(pid)
    assert incidents.counts(crew.store)["agent_hung"] == 1


def test_a_child_that_never_gets_ready_is_killed_and_tried_again(crew: Crew) -> None:
    crew.start_patience_s = 0.5
    crew.want("a", kind="never_ready")
    crew.up()
    first = eventually(lambda: int(crew.row("a").pid or 0), "it was started")
    eventually(lambda: crew.row("a").generation >= 2, "it was started again")
    assert not is_alive(first)
    assert crew.row("a").ready_at is None
    assert "signal:9" in {row.detail.get("reason") for row in incidents.listed(crew.store)}


# -- the supervisor ------------------------------------------------------------------------------


def test_children_are_gone_within_a_second_of_a_killed_supervisor(crew: Crew) -> None:
    server = crew.up()
    crew.want("a", "b", "c")
    pids = [crew.running(name) for name in ("a", "b", "c")]
    (zygote,) = children_with(server.pid, "nightcrew: zygote")
    _hold(crew, "b")
    server.kill()
    died_at = time.monotonic()
    server.wait()
    eventually(lambda: not any(is_alive(pid) for pid in [*pids, zygote]), "all are gone", within_s=3)
    assert time.monotonic() - died_at < 1.0


def test_a_child_that_takes_no_notice_is_gone_within_a_second_of_a_killed_supervisor(crew: Crew) -> None:
    server = crew.up()
    crew.want("a", kind="ignores_stop")
    pid = crew.running("a")
    _hold(crew, "a")
    server.kill()
    died_at = time.monotonic()
    eventually(lambda: not is_alive(pid), "it is gone", within_s=3)
    assert time.monotonic() - died_at < 1.0


def test_a_child_that_is_not_ready_yet_is_gone_within_a_second_of_a_killed_supervisor(crew: Crew) -> None:
    """It may be forked after its successor has looked for leftovers, and hang in its recovery for ever."""
    server = crew.up()
    crew.want("a", kind="never_ready")
    lock = crew.home.run / "a.lock"
    pid = eventually(lambda: lock.exists() and int(lock.read_text() or 0), "it has taken its lock")
    server.kill()
    died_at = time.monotonic()
    eventually(lambda: not is_alive(pid), "it is gone", within_s=3)
    assert time.monotonic() - died_at < 1.0


def test_a_new_supervisor_replaces_a_stopped_leftover_and_goes_on_with_its_message(crew: Crew) -> None:
    server = crew.up()
    crew.want("a")
    stopped = crew.running("a")
    sent, go = _hold(crew, "a")
    send_signal(stopped, signal.SIGSTOP)
    server.kill()
    server.wait()
    with open(go, "w"):
        pass
    crew.up()
    crew.running("a", generation=2)
    assert not is_alive(stopped)
    assert [process.pid for process in processes_of(crew.home)] == [crew.row("a").pid]
    _is_handled(crew, sent)


def test_three_generations_of_killed_supervisors_never_leave_two_processes_of_one_name(crew: Crew) -> None:
    crew.want("a", "b")
    for generation in (1, 2, 3):
        server = crew.up()
        pids = {crew.running(name, generation=generation) for name in ("a", "b")}
        ours = {*children_with(server.pid, "nightcrew: a"), *children_with(server.pid, "nightcrew: b")}
        assert ours == pids == {process.pid for process in processes_of(crew.home)}
        server.kill()
        server.wait()


def test_a_home_starts_again_after_a_killed_supervisor_and_after_one_that_was_asked_to_end(
    crew: Crew,
) -> None:
    server = crew.up()
    server.kill()
    server.wait()
    assert crew.down(crew.up()) == 0
    assert crew.down(crew.up()) == 0


def test_a_second_supervisor_is_refused_with_the_pid_of_the_first_and_exit_code_75(crew: Crew) -> None:
    first = crew.up()
    second = crew.launch()
    _, said = second.communicate(timeout=20)
    assert second.returncode == 75
    expected = f"AlreadyRunning: a supervisor is already running for {crew.home.path}: process {first.pid}"
    assert expected in said.decode()
    assert first.poll() is None


def test_a_message_that_the_supervisor_cannot_read_does_not_end_it(crew: Crew) -> None:
    server = crew.up()
    crew.want("a")
    pid = crew.running("a")
    with crew.store.write() as tx:
        body = {"kind": "from_the_future", "v": 9}
        inbox.append(tx, sender=HUMAN, recipient=SUPERVISOR, kind="x", body=body, priority=50, now=NOW)
    crew.want("b")
    crew.running("b")
    assert server.poll() is None
    assert crew.running("a") == pid


# -- stopping ------------------------------------------------------------------------------------


def test_an_ordered_shutdown_ends_the_team_then_the_gate_and_so_on_up_to_the_services(crew: Crew) -> None:
    add_project(crew.store, "shop")
    crew.want("chief", role=Role.ORCHESTRATOR)
    crew.want("boss", role=Role.PROJECT_MANAGER, project="shop")
    crew.want("hand", role=Role.ENGINEER, project="shop")
    server = crew.up()
    for name in ("chief", "boss", "hand"):
        crew.running(name)
    assert crew.down(server) == 0
    events = [json.loads(line) for line in (crew.home.logs / "supervisor.log").read_text().splitlines()]
    stopped = [event["actor"] for event in events if event["event"] == "child_stopped"]
    assert stopped == ["hand", "boss", "chief"]
    assert {crew.row(name).state for name in ("chief", "boss", "hand")} == {"stopped"}
    assert processes_of(crew.home) == []


def test_an_idle_crew_is_down_in_a_second_and_its_actors_end_with_code_zero(crew: Crew) -> None:
    names = [f"n{i}" for i in range(5)]
    crew.want(*names)
    server = crew.up()
    for name in names:
        crew.running(name)
    started = time.monotonic()
    assert crew.down(server) == 0
    assert time.monotonic() - started < 1.5
    assert {crew.row(name).reason for name in names} == {"exit:0"}


def test_a_child_that_takes_no_notice_of_a_stop_is_killed_after_its_grace(crew: Crew) -> None:
    crew.settings = {"grace_s": 0.3}
    crew.want("a", kind="ignores_stop")
    server = crew.up()
    crew.running("a")
    _hold(crew, "a")
    started = time.monotonic()
    assert crew.down(server) == 0
    assert time.monotonic() - started < 3.0
    assert crew.row("a").reason == "signal:9"


def test_a_stopped_process_is_killed_after_its_grace_and_holds_no_shutdown_up(crew: Crew) -> None:
    crew.settings = {"grace_s": 0.3}
    crew.want("a")
    server = crew.up()
    send_signal(crew.running("a"), signal.SIGSTOP)
    assert crew.down(server) == 0


def test_a_second_stop_is_harmless(crew: Crew) -> None:
    crew.want("a", "b")
    server = crew.up()
    crew.running("a")
    crew.running("b")
    for _ in range(5):
        server.terminate()
    assert crew.down(server) == 0
    assert processes_of(crew.home) == []


def test_an_actor_no_longer_wanted_is_stopped_and_one_wanted_again_is_started(crew: Crew) -> None:
    crew.up()
    crew.want("a", "b")
    pid = crew.running("a")
    crew.running("b")
    crew.unwant("a")
    eventually(lambda: crew.row("a").state == "stopped", "it is stopped")
    assert not is_alive(pid)
    crew.want("a")
    crew.running("a", generation=2)
    assert crew.row("b").generation == 1


# -- crashes over and over -----------------------------------------------------------------------


def test_an_actor_that_crashes_past_the_limit_is_quarantined_and_manager_and_user_are_notified(
    crew: Crew,
) -> None:
    crew.settings = {"intensity": 2}
    add_project(crew.store, "shop")
    crew.want("pm.shop", role=Role.PROJECT_MANAGER, project="shop")
    crew.want("engineer-1.shop", kind="unlucky", role=Role.ENGINEER, project="shop")
    crew.want("other")
    crew.up()
    eventually(lambda: crew.row("engineer-1.shop").state == "quarantined", "it is quarantined")
    row = crew.row("engineer-1.shop")
    assert row.generation == 3, "the first start and two restarts"
    assert row.pid is None
    assert "3 crashes in" in (row.reason or "")
    assert incidents.counts(crew.store) == {"agent_quarantined": 1, "agent_restarted": 2}
    for recipient in ("pm.shop", HUMAN):
        found = inbox.listed(crew.store, recipient=recipient)
        told = [m.body["agent"] for m in found if m.kind == "agent_quarantined"]
        assert told == ["engineer-1.shop"], recipient
    assert crew.ask("other", "say the rest works on") == "the rest works on"


def test_a_person_lifts_a_quarantine_by_a_restart(crew: Crew) -> None:
    crew.settings = {"intensity": 0}
    crew.want("a")
    crew.up()
    send_signal(crew.running("a"))
    eventually(lambda: crew.row("a").state == "quarantined", "it is quarantined")
    mailbox.send(crew.store, HUMAN, SUPERVISOR, RestartAgent(agent="a"), now=NOW)
    crew.running("a", generation=2)
    assert crew.row("a").reason is None


def test_a_quarantined_actor_is_tried_once_more_after_the_window(crew: Crew) -> None:
    crew.settings = {"intensity": 0, "intensity_window_s": 1.0}
    crew.want("a")
    crew.up()
    send_signal(crew.running("a"))
    eventually(lambda: crew.row("a").state == "quarantined", "it is quarantined")
    crew.running("a", generation=2)


def test_an_actor_of_a_kind_that_there_is_not_is_quarantined_and_nothing_else_suffers(crew: Crew) -> None:
    crew.settings = {"intensity": 1}
    crew.want("a", kind="no_such_kind")
    crew.want("b")
    crew.up()
    eventually(lambda: crew.row("a").state == "quarantined", "it is quarantined")
    crew.running("b")
