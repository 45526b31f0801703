"""Git or the sandbox fails for a while: work waits in the store for about ten minutes before it is given up."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.agent.agent import Agent
from actors.git.errors import GitError
from actors.runtime.actor import Actor
from actors.runtime.messages import Resume, TaskAssigned, Text
from actors.runtime.retries import PAUSES, RETRIES, Retry, next_retry
from actors.sandbox.errors import SandboxFailed
from actors.tools.registry import CREW_TOOLS
from store import crew, facts, inbox, incidents
from store.facts import Fact
from store.states import Activity, MessageState, TaskState
from tests.actors.runtime import shop as stage
from tests.actors.runtime.shop import FIRST, GATE, GOOD, NAME, Shop, wake
from tests.support.script_words import call, reply, scene
from tests.support.stores import NOW

BROKEN = GitError("git is away")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    work = [
        reply("I write it.", call("write_file", path="good.txt", content="1\n")),
        reply("Done.", call("submit_task", summary="It is good.")),
    ]
    scenes = [
        scene("engineer", ": Make it good", *work),
        scene("engineer", "Message from", reply("Here I am.")),
    ]
    with stage.opened(tmp_path, scenes=scenes) as made:
        yield made


def _retries(shop: Shop, actor: str) -> dict[str, Any] | None:
    return facts.get(shop.store, Fact[dict[str, Any]](f"retries:{actor}"))


def unplug(shop: Shop) -> None:
    """The disk with the repository is away."""
    shop.user.path.rename(shop.folder / "away")


def plug_in(shop: Shop) -> None:
    (shop.folder / "away").rename(shop.user.path)


def failures(actor: Actor, message: int) -> int:
    retry = actor.failures.retries.pending(message)
    return 0 if retry is None else retry.failures


def sleep(shop: Shop, actor: Actor) -> float:
    """Until the actor wants its next look, which it then takes; how long that was, in seconds."""
    slept_s = actor.coupling.next_wake_at - shop.clock.now
    assert slept_s > 0
    shop.clock.now = actor.coupling.next_wake_at
    wake(actor)
    return slept_s


def kinds(shop: Shop) -> list[str]:
    return [row.kind for row in reversed(incidents.listed(shop.store, project=NAME))]


def what_failed(shop: Shop) -> str:
    found = [row for row in incidents.listed(shop.store) if row.kind == "infrastructure_failed"]
    return str(found[-1].detail["error"])


# -- the rule ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lot", [0.0, 0.5, 0.999])
def test_pauses_double_with_jitter_and_add_up_to_about_ten_minutes(lot: float) -> None:
    now, retry, pauses = NOW, None, []
    while (retry := next_retry(retry, BROKEN, now, lot)) is not None:
        pauses.append(retry.due_at - now)
        now = retry.due_at
    assert 420 <= sum(pauses) <= 780
    assert all(b == pytest.approx(2 * a) for a, b in itertools.pairwise(pauses[:7]))
    assert pauses[0] == pytest.approx(PAUSES.first_s * (0.75 + 0.5 * lot))


@pytest.mark.parametrize("error", [BROKEN, SandboxFailed("no room"), BlockingIOError("no process")], ids=repr)
def test_only_failures_that_are_usually_temporary_are_retried_for_so_long(error: Exception) -> None:
    assert next_retry(Retry(9, NOW), error, NOW, 0.5) is not None
    assert next_retry(Retry(0, NOW, others=3), KeyError("a bug"), NOW, 0.5) is None
    # The one does not use up the other's patience.
    assert next_retry(Retry(9, NOW), KeyError("a bug"), NOW, 0.5) is not None
    assert next_retry(Retry(0, NOW, others=3), error, NOW, 0.5) is not None


def test_a_clock_that_was_set_back_delays_no_retry_for_hours() -> None:
    retry = Retry(1, NOW)
    assert [retry.is_waiting(NOW - 60), retry.is_waiting(NOW), retry.is_waiting(NOW - 3600)] == [
        True,
        False,
        False,
    ]


# -- a step of an agent --------------------------------------------------------------------------


def in_hand(shop: Shop, *, steps: int = 3) -> tuple[Agent, int]:
    """An engineer about to submit (after one step: to write its file), and the disk is gone; and its message."""
    shop.tell(FIRST, TaskAssigned(task=shop.plan()))
    agent = shop.agent()
    row = inbox.peek(shop.store, FIRST, now=shop.clock())
    assert row is not None
    agent.take(row)
    for _ in range(steps):
        agent.step(row)
    unplug(shop)
    return agent, row.id


def test_a_task_whose_step_fails_without_git_is_parked_after_ten_minutes_and_not_before(
    shop: Shop,
) -> None:
    agent, message = in_hand(shop)
    wake(agent)
    for tries in range(1, RETRIES + 1):
        assert failures(agent, message) == tries
        assert shop.task(1).state == TaskState.IN_PROGRESS
        wake(agent)
        assert failures(agent, message) == tries, "woken too early it waits on"
        row = crew.agent(shop.store, FIRST)
        assert (row.activity, row.deadline_at) == (Activity.WAITING, shop.clock() + 600)
        while failures(agent, message) == tries:
            sleep(shop, agent)
    assert shop.task(1).state == TaskState.PARKED
    assert 420 <= shop.clock() - NOW <= 780
    # Then it cannot put the parked task's folder away, for git is still away.
    assert kinds(shop)[:2] == ["infrastructure_failed", "task_parked"]
    assert str(shop.user.path) in what_failed(shop)
    assert incidents.counts(shop.store)["dead_letter"] == 1
    assert str(message) not in (_retries(shop, FIRST) or {})


def test_a_step_continues_where_it_was_once_git_is_back(shop: Shop) -> None:
    agent, message = in_hand(shop)
    wake(agent)
    for _ in range(4):
        sleep(shop, agent)
    plug_in(shop)
    while failures(agent, message):
        sleep(shop, agent)
    assert shop.task(1).state == TaskState.SUBMITTED
    assert [ok for _, ok, _ in shop.results(FIRST)] == [True, True]
    assert kinds(shop) == ["infrastructure_failed"]
    assert _retries(shop, FIRST) is None


def test_a_restart_keeps_the_count_of_failures_and_the_pause(shop: Shop) -> None:
    agent, message = in_hand(shop)
    wake(agent)
    while failures(agent, message) < 5:
        sleep(shop, agent)
    restarted = shop.agent()
    wake(restarted)
    assert failures(restarted, message) == 5
    while failures(restarted, message) == 5:
        sleep(shop, restarted)
    assert failures(restarted, message) == 6
    assert kinds(shop) == ["infrastructure_failed"]


def test_a_step_that_succeeds_ends_the_count_in_the_middle_of_its_turn(shop: Shop) -> None:
    _, message = in_hand(shop, steps=1)
    restarted = shop.agent()
    wake(restarted)
    assert failures(restarted, message) == 1
    plug_in(shop)
    assert restarted.state.turn is not None
    restarted.step(restarted.state.turn)
    assert (failures(restarted, message), restarted.state.turn is not None) == (0, True)


def test_a_resumed_agent_retries_before_the_pause_is_over(shop: Shop) -> None:
    agent, message = in_hand(shop)
    wake(agent)
    while failures(agent, message) < 5:
        sleep(shop, agent)
    plug_in(shop)
    shop.tell(FIRST, Resume(), sender="human", priority=100)
    wake(agent)
    assert shop.task(1).state == TaskState.SUBMITTED


def test_a_failure_of_another_kind_is_tried_three_times_more_within_seconds(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, _ = in_hand(shop)
    plug_in(shop)
    monkeypatch.setitem(CREW_TOOLS, "submit_task", None)
    wake(agent)
    while shop.task(1).state != TaskState.PARKED:
        sleep(shop, agent)
    assert shop.clock() - NOW <= 15
    assert kinds(shop) == ["task_parked"]


# -- a message that no turn has begun for ---------------------------------------------------------


def test_a_task_that_cannot_be_begun_without_git_waits_in_the_mailbox(shop: Shop) -> None:
    message = shop.tell(FIRST, TaskAssigned(task=shop.plan()))
    unplug(shop)
    agent = shop.agent()
    wake(agent)
    while failures(agent, message) < 6:
        assert [row.state for row in shop.letters(FIRST, "task_assigned")] == [MessageState.READY]
        sleep(shop, agent)
    assert shop.task(1).state == TaskState.ASSIGNED
    plug_in(shop)
    while failures(agent, message):
        sleep(shop, agent)
    assert shop.task(1).state == TaskState.SUBMITTED
    assert _retries(shop, FIRST) is None


def test_other_messages_are_taken_while_a_task_waits_to_be_begun(shop: Shop) -> None:
    shop.tell(FIRST, TaskAssigned(task=shop.plan()))
    unplug(shop)
    agent = shop.agent()
    wake(agent)
    shop.tell(FIRST, Text(text="Are you there?"))
    wake(agent)
    assert [row.state for row in shop.letters(FIRST, "text")] == [MessageState.HANDLED]


# -- the gate ------------------------------------------------------------------------------------


def test_the_gate_waits_ten_minutes_for_git_before_it_parks_a_task(shop: Shop) -> None:
    task = shop.submitted(GOOD)
    (letter,) = shop.letters(GATE, "task_submitted")
    unplug(shop)
    gate = shop.gate()
    wake(gate)
    for tries in range(1, RETRIES + 1):
        assert (failures(gate, letter.id), shop.task(task).state) == (tries, TaskState.CHECKING)
        row = crew.agent(shop.store, GATE)
        assert (row.activity, row.deadline_at) == (Activity.IDLE, None)
        while failures(gate, letter.id) == tries:
            sleep(shop, gate)
    assert shop.task(task).state == TaskState.PARKED
    assert 420 <= shop.clock() - NOW <= 800
    assert kinds(shop) == ["infrastructure_failed", "task_parked"]
    assert "PathMissingError" in what_failed(shop)


def test_the_gate_merges_once_git_is_back_also_after_a_restart(shop: Shop) -> None:
    task = shop.submitted(GOOD)
    unplug(shop)
    gate = shop.gate()
    wake(gate)
    for _ in range(5):
        sleep(shop, gate)
    (letter,) = shop.letters(GATE, "task_submitted")
    tries = failures(gate, letter.id)
    restarted = shop.gate()
    wake(restarted)
    assert failures(restarted, letter.id) == tries
    plug_in(shop)
    while failures(restarted, letter.id):
        sleep(shop, restarted)
    assert (shop.task(task).state, shop.merges()) == (TaskState.MERGED, 1)
    assert _retries(shop, GATE) is None
