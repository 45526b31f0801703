"""A tester that stays silent holds up nothing for ever, and one that is kept from work is not hurried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.gate.actor import MergeGate
from actors.runtime.messages import VerdictReported
from store import crew, inbox, incidents
from store.entries import NudgeBody
from store.states import Activity, AgentState, EntryKind, TaskState
from supervisor.cli import report
from tests.actors.runtime import shop as stage
from tests.actors.runtime.shop import GATE, GOOD, NAME, QA, Shop, wake
from tests.support.script_words import reply, scene
from tests.support.stores import NOW, claim_next, new_incarnation

MINUTES = 45
WORDS = "It looks fine to me, I think."


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    scenes = [scene("qa", "Test task", *[reply(f"{WORDS} ({n})") for n in range(6)])]
    with stage.opened(tmp_path, with_qa=True, scenes=scenes) as made:
        yield made


def minutes_pass(gate: MergeGate, minutes: int) -> None:
    for _ in range(minutes):
        gate._ticked_at -= 60
        wake(gate)


def is_at(shop: Shop, activity: Activity) -> None:
    with shop.store.write() as tx:
        crew.change_agent(tx, QA, activity=activity)


def takes_its_request(shop: Shop) -> None:
    """The tester has the next request in hand and runs a command."""
    assert claim_next(shop.store, new_incarnation(shop.store, QA)) is not None
    is_at(shop, Activity.TOOL)


def kinds(shop: Shop) -> list[str]:
    return [row.kind for row in incidents.listed(shop.store, project=NAME)]


def test_after_three_quarters_of_an_hour_of_the_testers_work_the_checks_alone_decide(shop: Shop) -> None:
    task = shop.submitted(GOOD)
    gate = shop.gate()
    wake(gate)
    takes_its_request(shop)
    minutes_pass(gate, MINUTES - 1)
    assert (shop.task(task).state, kinds(shop)) == (TaskState.CHECKING, [])
    minutes_pass(gate, 2)
    row = shop.task(task)
    assert (row.state, shop.merges(), kinds(shop)) == (TaskState.MERGED, 1, ["verdict_missing"])
    assert "the checks alone decided" in (row.feedback or "")
    lines = report.as_text(report.gather(shop.store, NAME))
    assert [line for line in lines if f"{QA}: no verdict on t{task}" in line]


@pytest.mark.parametrize(
    "activity", [Activity.PAUSED, Activity.WAITING, Activity.IDLE, Activity.NO_SPACE], ids=str
)
def test_time_in_which_the_tester_could_not_work_is_not_counted(shop: Shop, activity: Activity) -> None:
    task = shop.submitted(GOOD)
    gate = shop.gate()
    wake(gate)
    takes_its_request(shop)
    is_at(shop, activity)
    minutes_pass(gate, 2 * MINUTES)
    assert (shop.task(task).state, kinds(shop)) == (TaskState.CHECKING, [])
    is_at(shop, Activity.MODEL)
    minutes_pass(gate, MINUTES + 1)
    assert shop.task(task).state == TaskState.MERGED


def test_a_request_that_waits_behind_another_loses_no_time(shop: Shop) -> None:
    first, second = shop.submitted(GOOD), shop.submitted({"good.txt": "1\n", "more.txt": "1\n"})
    gate = shop.gate()
    wake(gate)
    takes_its_request(shop)
    minutes_pass(gate, MINUTES + 1)
    assert [shop.task(task).state for task in (first, second)] == [TaskState.MERGED, TaskState.CHECKING]


def test_a_tester_in_quarantine_is_waited_for_no_longer_than_one_at_work(shop: Shop) -> None:
    task = shop.submitted(GOOD)
    gate = shop.gate()
    wake(gate)
    with shop.store.write() as tx:
        crew.change_agent(tx, QA, state=AgentState.QUARANTINED)
    minutes_pass(gate, MINUTES + 1)
    assert shop.task(task).state == TaskState.MERGED


def refused_by_the_tester(shop: Shop, gate: MergeGate, task: int) -> None:
    candidate = shop.task(task).candidate_commit
    verdict = VerdictReported(task=task, candidate=candidate, passed=False, findings="It is wrong.")
    shop.tell(GATE, verdict, sender=QA)
    wake(gate)


def test_work_on_an_older_submission_is_not_taken_from_the_newer_ones_time(shop: Shop) -> None:
    task = shop.submitted(GOOD)
    gate = shop.gate()
    wake(gate)
    takes_its_request(shop)
    refused_by_the_tester(shop, gate, task)
    shop.submit(task, {"good.txt": "2\n"})
    wake(gate)
    minutes_pass(gate, MINUTES + 1)
    assert (shop.task(task).state, kinds(shop)) == (TaskState.CHECKING, [])


def test_a_tester_that_is_silent_about_a_second_submission_too_does_not_hold_it_up(tmp_path: Path) -> None:
    one_line = 'test "$(cat a.txt b.txt 2>&- | wc -l)" = 1'
    with stage.opened(tmp_path, checks=[one_line], with_qa=True) as shop:
        task, other = shop.submitted({"a.txt": "1\n"}), shop.submitted({"b.txt": "1\n"})
        gate = shop.gate()
        wake(gate)
        takes_its_request(shop)
        verdict = VerdictReported(
            task=other, candidate=shop.task(other).candidate_commit, passed=True, findings="Good."
        )
        shop.tell(GATE, verdict, sender=QA)
        minutes_pass(gate, MINUTES + 1)
        # The other's work is in, so that the checks that decide about the first one are new ones, and fail.
        assert [shop.task(task).state, shop.task(other).state] == [
            TaskState.IN_PROGRESS,
            TaskState.MERGED,
        ]
        with shop.store.write() as tx:
            inbox.acknowledge(tx, inbox.claimed(shop.store, QA)[0].id, now=shop.clock())
            inbox.withdraw(tx, shop.letters(QA, "review_requested")[1].id, reason="merged", now=NOW)
        shop.submit(task, {"a.txt": "no line"})
        wake(gate)
        takes_its_request(shop)
        minutes_pass(gate, MINUTES + 1)
        assert (shop.task(task).state, kinds(shop)) == (TaskState.MERGED, ["verdict_missing"] * 2)


def test_a_tester_that_only_talks_is_reminded_three_times_and_then_the_checks_decide(shop: Shop) -> None:
    task = shop.submitted(GOOD)
    gate = shop.gate()
    wake(gate)
    qa = shop.agent(QA)
    wake(qa)
    nudges = [entry.body for entry in shop.entries(QA, EntryKind.NUDGE)]
    assert [nudge.reason for nudge in nudges if isinstance(nudge, NudgeBody)] == ["unfinished"] * 3
    assert all(f"report_verdict for task {task}" in nudge.text for nudge in nudges)
    assert shop.task(task).state == TaskState.CHECKING
    wake(gate)
    row = shop.task(task)
    assert (row.state, row.feedback) == (
        TaskState.MERGED,
        "The tester gave no verdict; the checks alone decided.",
    )
    lines = report.as_text(report.gather(shop.store, NAME))
    assert [
        line
        for line in lines
        if f"{QA}: the qa model did not finish its duty; Nightcrew completed it" in line
    ]
