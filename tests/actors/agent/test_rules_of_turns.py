"""What a turn is about stays what it is about: its task, its request, its calls; whatever comes in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.agent.agent import Agent
from actors.rehearsal.server import RehearsalServer
from actors.runtime.addresses import HUMAN, Priority
from actors.runtime.messages import CancelTurn, Pause, Resume, ReviewRequested, TaskAssigned, TaskParked, Text
from store import crew, inbox, incidents, journal, tasks, timers
from store.errors import StaleGeneration
from store.rows import Intent
from store.states import EntryKind, IntentState, MessageState, TaskState
from tests.actors.runtime import shop as stage
from tests.actors.runtime.shop import FIRST, GATE, PM, QA, SECOND, Shop, wake
from tests.support.script_words import Reply, call, reply, scene
from tests.support.stores import NOW
from tests.support.waiting import eventually

GOOD = call("write_file", path="good.txt", content="1\n")
SUBMIT = call("submit_task", summary="It is good.")
MARK = call("shell", command="touch mark")
ASK = call("send_message", to="manager", text="Which way?")
REVIEW = "Test task"


@contextmanager
def playing(folder: Path, *replies: Reply, after: str = "", role: str = "engineer") -> Iterator[Shop]:
    """A shop whose engineer (or tester) answers so to its task; to a human's message it asks its manager."""
    scenes = [
        scene(role, after or ": Make it good", *replies),
        scene(role, "Message from human", reply("I ask.", ASK)),
    ]
    with stage.opened(folder, scenes=scenes) as shop:
        yield shop


def assigned(shop: Shop) -> int:
    task = shop.plan()
    shop.tell(FIRST, TaskAssigned(task=task))
    return task


def takes(agent: Agent) -> None:
    """Its next message, and nothing more yet."""
    row = inbox.peek(agent.store, agent.runtime.name, now=agent.now())
    assert row is not None
    agent.take(row)


def steps(agent: Agent, count: int) -> None:
    for _ in range(count):
        assert agent.state.turn is not None
        agent.step(agent.state.turn)


def open_intents(shop: Shop) -> list[Intent]:
    return journal.listed(shop.store, IntentState.INTENDED)


def mark_of(shop: Shop, task: int) -> Path:
    return shop.home.worktree(stage.NAME, f"t{task}") / "mark"


# -- calls after the one that ended the turn -----------------------------------------------------


def test_calls_after_the_one_that_submits_are_answered_and_not_run(tmp_path: Path) -> None:
    with playing(tmp_path, reply("All at once.", GOOD, SUBMIT, MARK, ASK, SUBMIT)) as shop:
        task = assigned(shop)
        wake(shop.agent())
        told = shop.results(FIRST)
        assert [(tool, ok) for tool, ok, _ in told] == [
            ("write_file", True),
            ("submit_task", True),
            ("shell", False),
            ("send_message", False),
            ("submit_task", False),
        ]
        assert {text for _, _, text in told[2:]} == {"not run: the turn has ended"}
        assert (open_intents(shop), mark_of(shop, task).exists()) == ([], False)
        assert shop.letters(PM, "text") == []
        assert len(shop.letters(GATE, "task_submitted")) == 1
        assert [row.state for row in shop.letters(FIRST, "task_assigned")] == [MessageState.HANDLED]


def in_the_middle_of_its_command(shop: Shop, agent: Agent, change: Callable[[], object]) -> None:
    """Have the agent work; once its command runs `change` it and interrupt, as its pump does."""
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(wake, agent)
        held = shop.folder / "held"
        eventually(lambda: held.exists() or working.done(), "the command runs")
        change()
        agent.coupling.cancelled.set()
        working.result(timeout=30)


def holding(folder: Path) -> dict[str, Any]:
    """A command that runs until it is interrupted."""
    return call("shell", command=f"touch {folder}/held; sleep 60")


def test_calls_that_wait_when_an_urgent_message_comes_are_answered_and_not_run(tmp_path: Path) -> None:
    with playing(tmp_path, reply("Both.", holding(tmp_path), MARK, SUBMIT)) as shop:
        task, agent = assigned(shop), shop.agent()
        words = Text(text="Use the other way.")
        in_the_middle_of_its_command(
            shop, agent, lambda: shop.tell(FIRST, words, sender=HUMAN, priority=Priority.URGENT)
        )
        told = shop.results(FIRST)
        assert "cancelled" in told[0][2]
        assert [text for _, _, text in told[1:3]] == ["not run: a message from human came first"] * 2
        assert (open_intents(shop), mark_of(shop, task).exists()) == ([], False)
        assert shop.task(task).state == TaskState.IN_PROGRESS


def test_calls_of_a_turn_that_is_cancelled_are_answered_and_not_run(tmp_path: Path) -> None:
    with playing(tmp_path, reply("Both.", holding(tmp_path), MARK)) as shop:
        task, agent = assigned(shop), shop.agent()
        order = CancelTurn(reason="enough")
        in_the_middle_of_its_command(
            shop, agent, lambda: shop.tell(FIRST, order, sender=HUMAN, priority=Priority.CONTROL)
        )
        assert shop.results(FIRST)[1] == ("shell", False, "not run: cancelled (enough)")
        assert (open_intents(shop), mark_of(shop, task).exists()) == ([], False)
        assert shop.task(task).state == TaskState.PARKED


def test_calls_behind_a_pause_wait_for_its_end_with_no_intent_open(tmp_path: Path) -> None:
    with playing(tmp_path, reply("Both.", holding(tmp_path), MARK), reply("Asking.", ASK)) as shop:
        task, agent = assigned(shop), shop.agent()
        in_the_middle_of_its_command(
            shop, agent, lambda: shop.tell(FIRST, Pause(), sender=HUMAN, priority=Priority.CONTROL)
        )
        assert [tool for tool, _, _ in shop.results(FIRST)] == ["shell"]
        assert (open_intents(shop), mark_of(shop, task).exists()) == ([], False)
        shop.tell(FIRST, Resume(), sender=HUMAN, priority=Priority.CONTROL)
        wake(agent)
        assert [ok for _, ok, _ in shop.results(FIRST)] == [False, True, True]
        assert (open_intents(shop), mark_of(shop, task).exists()) == ([], True)


def test_a_call_that_was_next_when_an_urgent_message_came_is_reported_as_not_run(tmp_path: Path) -> None:
    with playing(tmp_path, reply("One.", call("shell", command="true")), reply("Two.", MARK)) as shop:
        task, agent = assigned(shop), shop.agent()
        takes(agent)
        steps(agent, 3)
        shop.tell(FIRST, Text(text="Wait."), sender=HUMAN, priority=Priority.URGENT)
        wake(agent)
        assert shop.results(FIRST)[1] == ("shell", False, "not run: a message from human came first")
        assert (open_intents(shop), mark_of(shop, task).exists()) == ([], False)


def test_a_call_begun_by_a_killed_incarnation_is_never_reported_as_not_run(tmp_path: Path) -> None:
    with playing(tmp_path, reply("One.", MARK, SUBMIT)) as shop:
        assigned(shop)
        killed = shop.agent()
        takes(killed)
        steps(killed, 1)
        (said,) = shop.entries(FIRST, EntryKind.REPLY)
        with killed.write() as tx:
            journal.intend(
                tx, killed.runtime.fence, reply=said.id, position=0, tool="shell",
                arguments=MARK["arguments"], evidence={}, now=NOW,
            )  # fmt: skip
        shop.tell(FIRST, Text(text="Stop."), sender=HUMAN, priority=Priority.URGENT)
        wake(shop.agent())
        told = [text for _, _, text in shop.results(FIRST)]
        assert told[0].startswith("Outcome unknown: it had begun")
        assert told[1] == "not run: a message from human came first"
        assert open_intents(shop) == []
        assert len(journal.listed(shop.store, IntentState.UNKNOWN)) == 1


# -- after a restart -----------------------------------------------------------------------------


def digests(server: RehearsalServer) -> list[str]:
    return [served.digest for served in server.served]


def test_a_restarted_agent_sends_the_same_prompt_and_continues_the_task_of_its_turn(tmp_path: Path) -> None:
    replies = (reply("I look.", call("shell", command="ls")), reply("There.", GOOD, SUBMIT))
    with playing(tmp_path, *replies) as shop:
        first = assigned(shop)
        killed = shop.agent()
        takes(killed)
        steps(killed, 2)
        # Meanwhile its row names the next task, which is not what its turn is about.
        second = shop.plan("Keep the books")
        restarted = shop.agent()
        with pytest.raises(StaleGeneration):
            steps(killed, 1)
        wake(restarted)
        asked = digests(shop.model)
        assert asked[1] == asked[2], "the same prompt, byte by byte"
        assert [row.state for row in (shop.task(first), shop.task(second))] == [
            TaskState.SUBMITTED,
            TaskState.ASSIGNED,
        ]
        commit = shop.task(first).submitted_commit
        assert commit is not None
        assert shop.user.show(commit, "good.txt") == "1"
        assert shop.user.git("branch", "--list", shop.task(second).branch) == ""
        rows = [*shop.entries(FIRST, EntryKind.REPLY), *shop.entries(FIRST, EntryKind.TOOL_RESULT)]
        assert {entry.task for entry in rows} == {first}


# -- the tester's word ---------------------------------------------------------------------------


def to_be_tested(shop: Shop, candidate: str) -> int:
    """A task that waits for the tester's word on `candidate`."""
    task = shop.submitted({f"{candidate}.txt": "1\n"})
    shop.move(task, TaskState.CHECKING)
    amend(shop, task, candidate)
    return task


def amend(shop: Shop, task: int, candidate: str) -> None:
    with shop.store.write() as tx:
        tasks.amend(tx, task, now=NOW, candidate_commit=candidate)


def verdicts(shop: Shop) -> list[tuple[int, str, bool]]:
    found = [row.body for row in shop.letters(GATE, "verdict_reported")]
    return [(body["task"], body["candidate"], body["passed"]) for body in found]


def says(task: int) -> Reply:
    return reply("My word.", call("report_verdict", task=task, passed=True, findings="Tried it."))


def test_a_tester_gives_a_verdict_only_on_the_task_that_it_was_asked_about(tmp_path: Path) -> None:
    with playing(tmp_path, says(2), says(1), after=REVIEW, role="qa") as shop:
        first, second = to_be_tested(shop, "c1"), to_be_tested(shop, "c2")
        assert (first, second) == (1, 2)
        shop.tell(QA, ReviewRequested(task=first, candidate="c1"), sender=GATE)
        wake(shop.agent(QA))
        assert [(ok, text.split(";")[0]) for _, ok, text in shop.results(QA)] == [
            (False, "The review request is about task 1"),
            (True, "Your verdict was delivered. Stop here."),
        ]
        assert verdicts(shop) == [(first, "c1", True)]


def test_a_tester_that_was_not_asked_can_give_no_verdict(tmp_path: Path) -> None:
    with playing(tmp_path, says(1), after="Is it good", role="qa") as shop:
        to_be_tested(shop, "c1")
        shop.tell(QA, Text(text="Is it good, what do you say?"), sender=PM)
        wake(shop.agent(QA))
        assert [ok for _, ok, _ in shop.results(QA)] == [False]
        assert verdicts(shop) == []


def test_a_tester_whose_candidate_was_replaced_meanwhile_decides_nothing(tmp_path: Path) -> None:
    with playing(tmp_path, says(1), after=REVIEW, role="qa") as shop:
        task = to_be_tested(shop, "c1")
        shop.tell(QA, ReviewRequested(task=task, candidate="c1"), sender=GATE)
        tester = shop.agent(QA)
        takes(tester)
        amend(shop, task, "c2")
        wake(tester)
        assert [ok for _, ok, _ in shop.results(QA)] == [False]
        assert (verdicts(shop), inbox.claimed(shop.store, QA)) == ([], [])


@pytest.mark.parametrize("candidate", ["head", "another"])
def test_code_decides_in_a_testers_place_only_about_the_candidate_it_was_asked_about(
    tmp_path: Path, candidate: str
) -> None:
    again = [reply("Again.", call("shell", command="true"))] * 6
    with playing(tmp_path, *again, after=REVIEW, role="qa") as shop:
        head = shop.head()
        task = to_be_tested(shop, head)
        shop.tell(QA, ReviewRequested(task=task, candidate=head), sender=GATE)
        tester = shop.agent(QA)
        takes(tester)
        now = head if candidate == "head" else candidate
        amend(shop, task, now)
        wake(tester)
        assert incidents.counts(shop.store)["duty_done_by_code"] == 1
        assert verdicts(shop) == ([(task, head, True)] if candidate == "head" else [])


# -- waiting for an answer -----------------------------------------------------------------------


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[tuple[Shop, Agent]]:
    """An engineer that has asked its manager and waits for the answer."""
    with playing(tmp_path, reply("I ask.", ASK)) as shop:
        assigned(shop)
        agent = shop.agent()
        wake(agent)
        assert (agent.state.turn, len(timers.listed(shop.store))) == (None, 1)
        yield shop, agent


def test_an_answer_cancels_the_timer_for_a_missing_answer(asking: tuple[Shop, Agent]) -> None:
    shop, agent = asking
    shop.tell(FIRST, Text(text="The simpler way."))
    takes(agent)
    assert [row.state for row in shop.letters(FIRST, "text")] == [MessageState.CLAIMED]
    assert timers.listed(shop.store) == []


def test_an_answer_that_was_not_taken_leaves_the_timer(asking: tuple[Shop, Agent]) -> None:
    shop, replaced = asking
    shop.agent()
    shop.tell(FIRST, Text(text="The simpler way."))
    with pytest.raises(StaleGeneration):
        takes(replaced)
    assert len(timers.listed(shop.store)) == 1


def test_an_agent_that_was_restarted_while_it_waited_cancels_the_timer_too(
    asking: tuple[Shop, Agent],
) -> None:
    shop, _ = asking
    shop.tell(FIRST, Text(text="The simpler way."))
    takes(shop.agent())
    assert timers.listed(shop.store) == []


def test_the_end_of_the_task_that_it_waits_with_cancels_the_timer(asking: tuple[Shop, Agent]) -> None:
    shop, agent = asking
    shop.move(1, TaskState.PARKED)
    shop.tell(FIRST, TaskParked(task=1, reason="given up"))
    wake(agent)
    assert timers.listed(shop.store) == []


def test_news_of_another_task_is_no_answer(asking: tuple[Shop, Agent]) -> None:
    shop, agent = asking
    other = shop.plan("Keep the books", assignee=SECOND)
    shop.tell(FIRST, TaskAssigned(task=other))
    wake(agent)
    assert [row.state for row in shop.letters(FIRST, "task_assigned")] == [MessageState.HANDLED] * 2
    (timer,) = timers.listed(shop.store)
    assert timer.due_at == NOW + 900
    assert crew.agent(shop.store, FIRST).activity == "idle"
