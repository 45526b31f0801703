"""The gate as an actor: what changes while it is at work, and what a crash must not do twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.gate.actor import MergeGate
from actors.runtime import messages
from actors.runtime.addresses import Priority
from actors.runtime.messages import ReviewRequested, VerdictReported
from store import crew, inbox, tasks
from store.states import Activity, MessageState, ProjectState, TaskState
from tests.actors.runtime import shop as stage
from tests.actors.runtime.shop import BAD, FIRST, GATE, GOOD, NAME, PM, QA, SECOND, Shop, wake
from tests.support.stores import NOW

HELD = "{held}"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with stage.opened(tmp_path) as made:
        yield made


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Shop]:
    """Its check stops in the middle until the test has changed something."""
    with stage.opened(tmp_path, checks=[HELD]) as made:
        yield made


@pytest.fixture
def tested(tmp_path: Path) -> Iterator[Shop]:
    """With a tester."""
    with stage.opened(tmp_path, with_qa=True) as made:
        yield made


def in_state(shop: Shop, state: ProjectState) -> None:
    with shop.store.write() as tx:
        crew.set_project_state(tx, NAME, state)


def give_to_another(shop: Shop, task: int) -> None:
    """Taken back, planned anew, and in progress with the other engineer."""
    shop.move(task, TaskState.IN_PROGRESS, TaskState.PLANNED)
    with shop.store.write() as tx:
        tasks.move(tx, task, TaskState.ASSIGNED, by=PM, reason="another", now=NOW, assignee=SECOND)
    shop.begin(task)


MEANWHILE: dict[str, Callable[[Shop, int], None]] = {
    "taken_back": lambda shop, task: shop.move(task, TaskState.IN_PROGRESS),
    "parked": lambda shop, task: shop.move(task, TaskState.PARKED),
    "given_to_another": give_to_another,
}


@pytest.mark.parametrize("change", MEANWHILE.values(), ids=MEANWHILE)
@pytest.mark.parametrize("files", [GOOD, BAD], ids=["that_passes", "that_fails"])
def test_a_task_that_is_taken_away_during_its_checks_neither_lands_nor_comes_back(
    held: Shop, files: dict[str, str], change: Callable[[Shop, int], None]
) -> None:
    task, before = held.submitted(files), held.head()
    gate = held.gate()
    held.while_checking(gate, lambda: change(held, task))
    changed = held.task(task)
    assert (held.head(), held.tags()) == (before, [])
    assert changed.state in (TaskState.IN_PROGRESS, TaskState.PARKED)
    assert tasks.events(held.store, task)[-1].by != GATE
    assert changed.attempts == 0
    assert held.letters(FIRST, "task_returned") == held.letters(FIRST, "task_merged") == []
    assert crew.agent(held.store, GATE).activity == Activity.IDLE
    assert inbox.claimed(held.store, GATE) == []


def test_of_two_submissions_only_the_newer_one_is_judged(held: Shop) -> None:
    task = held.submitted(BAD)

    def submit_anew() -> None:
        held.move(task, TaskState.IN_PROGRESS)
        held.submit(task, GOOD)

    held.while_checking(held.gate(), submit_anew)
    row = held.task(task)
    assert (row.state, row.attempts, held.merges()) == (TaskState.MERGED, 0, 1)
    assert held.user.show(held.head(), "good.txt") == "1"
    assert held.letters(FIRST, "task_returned") == []


@pytest.mark.parametrize("change", MEANWHILE.values(), ids=MEANWHILE)
def test_a_task_that_is_taken_away_before_its_checks_begin_is_not_checked(
    shop: Shop, change: Callable[[Shop, int], None]
) -> None:
    task = shop.submitted(GOOD)
    gate, as_read = shop.gate(), shop.task(task)
    change(shop, task)
    assert gate._judge._evaluate(gate.project, as_read, as_read.submitted_commit or "") is None
    assert tasks.events(shop.store, task)[-1].by != GATE


def test_a_task_that_is_submitted_anew_before_its_checks_begin_is_not_checked_as_it_was(shop: Shop) -> None:
    task = shop.submitted(BAD)
    gate, as_read = shop.gate(), shop.task(task)
    shop.move(task, TaskState.IN_PROGRESS)
    shop.submit(task, GOOD)
    assert gate._judge._evaluate(gate.project, as_read, as_read.submitted_commit or "") is None
    assert shop.task(task).state == TaskState.SUBMITTED
    wake(gate)
    assert (shop.task(task).state, shop.merges()) == (TaskState.MERGED, 1)


@pytest.mark.parametrize("state", [ProjectState.CANCELLED, ProjectState.ARCHIVED])
def test_nothing_lands_in_a_project_that_ended_during_the_checks(held: Shop, state: ProjectState) -> None:
    held.submitted(GOOD)
    before = held.head()
    held.while_checking(held.gate(), lambda: in_state(held, state))
    assert (held.head(), held.tags()) == (before, [])
    assert [row.state for row in held.letters(GATE, "task_submitted")] == [MessageState.HANDLED]


def test_a_project_that_ended_has_nothing_checked(held: Shop) -> None:
    held.submitted(GOOD)
    in_state(held, ProjectState.CANCELLED)
    held.gate().drain()
    assert not (held.folder / "held").exists()


def test_a_project_paused_during_the_checks_lands_its_work_once_it_goes_on(held: Shop) -> None:
    task, before = held.submitted(GOOD), held.head()
    gate = held.gate()
    held.while_checking(gate, lambda: in_state(held, ProjectState.PAUSED))
    assert held.head() == before
    assert gate.tick() <= held.clock() + 5, "it looks again soon"
    wake(gate)
    row = crew.agent(held.store, GATE)
    assert (row.activity, row.deadline_at) == (Activity.PAUSED, None)
    in_state(held, ProjectState.ACTIVE)
    wake(gate)
    assert (held.task(task).state, held.merges()) == (TaskState.MERGED, 1)
    assert crew.agent(held.store, GATE).activity == Activity.IDLE


def test_a_paused_projects_submissions_wait_in_the_mailbox(shop: Shop) -> None:
    task = shop.submitted(GOOD)
    in_state(shop, ProjectState.PAUSED)
    gate = shop.gate()
    wake(gate)
    assert [row.state for row in shop.letters(GATE, "task_submitted")] == [MessageState.READY]
    in_state(shop, ProjectState.ACTIVE)
    wake(gate)
    assert shop.task(task).state == TaskState.MERGED


def die_before_the_commit(gate: MergeGate) -> None:
    """All of the next message's work, and then nothing of what was to be committed: the process was killed."""
    found = inbox.peek(gate.store, GATE, now=gate.now())
    assert found is not None
    with gate.write() as tx:
        inbox.claim(tx, found.id, generation=gate.runtime.generation, now=gate.now())
    gate.handle(messages.decode(found.body), found)


def test_a_merge_that_landed_before_a_crash_is_not_landed_again(shop: Shop) -> None:
    task = shop.submitted(GOOD)
    die_before_the_commit(shop.gate())
    landed, tags = shop.head(), shop.tags()
    assert (shop.merges(), shop.task(task).state) == (1, TaskState.CHECKING)
    wake(shop.gate())
    row = shop.task(task)
    assert (row.state, row.merged_commit, row.tag) == (TaskState.MERGED, landed, tags[0])
    assert (shop.head(), shop.tags()) == (landed, tags)
    assert len(shop.letters(FIRST, "task_merged")) == len(shop.letters(PM, "task_merged")) == 1


def verdict(task: int, candidate: str, *, passed: bool = True) -> VerdictReported:
    return VerdictReported(task=task, candidate=candidate, passed=passed, findings="looked at it")


def asked(shop: Shop, task: int) -> str:
    """The candidate that the tester was asked about last."""
    found = [row.body["candidate"] for row in shop.letters(QA, "review_requested")]
    assert shop.task(task).candidate_commit == found[-1]
    return str(found[-1])


def test_a_merge_that_landed_on_the_testers_word_before_a_crash_is_not_landed_again(tested: Shop) -> None:
    task = tested.submitted(GOOD)
    gate = tested.gate()
    wake(gate)
    tested.tell(GATE, verdict(task, asked(tested, task)), sender=QA)
    die_before_the_commit(gate)
    landed, tags = tested.head(), tested.tags()
    assert tested.merges() == 1
    wake(tested.gate())
    assert (tested.task(task).merged_commit, tested.head(), tested.tags()) == (landed, landed, tags)


@pytest.mark.parametrize("passed", [True, False])
def test_a_verdict_on_an_older_submission_decides_nothing_about_the_newer_one(
    tested: Shop, passed: bool
) -> None:
    task, before = tested.submitted(GOOD), tested.head()
    gate = tested.gate()
    wake(gate)
    older = asked(tested, task)
    tested.tell(GATE, verdict(task, older, passed=False), sender=QA)
    wake(gate)
    tested.submit(task, {"good.txt": "2\n"})
    wake(gate)
    newer = asked(tested, task)
    tested.tell(GATE, verdict(task, older, passed=passed), sender=QA)
    wake(gate)
    row = tested.task(task)
    assert (row.state, row.attempts, tested.head()) == (TaskState.CHECKING, 1, before)
    tested.tell(GATE, verdict(task, newer), sender=QA)
    wake(gate)
    assert (tested.task(task).state, tested.merges()) == (TaskState.MERGED, 1)


@pytest.mark.parametrize("passed", [True, False])
def test_a_verdict_on_a_task_that_was_parked_meanwhile_decides_nothing(tested: Shop, passed: bool) -> None:
    task, before = tested.submitted(GOOD), tested.head()
    gate = tested.gate()
    wake(gate)
    candidate = asked(tested, task)
    tested.move(task, TaskState.PARKED)
    tested.tell(GATE, verdict(task, candidate, passed=passed), sender=QA)
    wake(gate)
    row = tested.task(task)
    assert (row.state, row.attempts, tested.head()) == (TaskState.PARKED, 0, before)


def test_a_late_verdict_decides_nothing_about_a_submission_that_was_not_checked_yet(tested: Shop) -> None:
    task, before = tested.submitted(GOOD), tested.head()
    gate = tested.gate()
    wake(gate)
    older = asked(tested, task)
    tested.move(task, TaskState.PARKED, TaskState.PLANNED, TaskState.ASSIGNED, TaskState.IN_PROGRESS)
    tested.submit(task, {"good.txt": "2\n"})
    tested.tell(GATE, verdict(task, older), sender=QA, priority=Priority.HIGH)
    wake(gate)
    assert tested.head() == before
    assert tested.task(task).state == TaskState.CHECKING
    assert asked(tested, task) != older
    assert tested.letters("human", "dead_letter") == []
    assert [row.attempts for row in tested.letters(GATE, "verdict_reported")] == [0]


def test_a_verdict_names_its_task_and_decides_about_no_other(tested: Shop) -> None:
    first, second = tested.submitted(GOOD), tested.submitted({"good.txt": "1\n", "more.txt": "1\n"})
    gate = tested.gate()
    wake(gate)
    of_second = str(tested.task(second).candidate_commit)
    tested.tell(GATE, verdict(first, of_second), sender=QA)
    wake(gate)
    assert {tested.task(task).state for task in (first, second)} == {TaskState.CHECKING}
    assert tested.merges() == 0


def test_a_task_parked_while_it_was_checked_is_not_given_to_the_tester(tmp_path: Path) -> None:
    with stage.opened(tmp_path, checks=[HELD], with_qa=True) as held:
        task = held.submitted(GOOD)
        held.while_checking(held.gate(), lambda: held.move(task, TaskState.PARKED))
        assert (held.task(task).state, held.letters(QA, "review_requested")) == (TaskState.PARKED, [])


def test_the_tester_is_asked_about_the_candidate_that_is_to_land(tested: Shop) -> None:
    task = tested.submitted(GOOD)
    wake(tested.gate())
    (letter,) = tested.letters(QA, "review_requested")
    assert messages.decode(letter.body) == ReviewRequested(task=task, candidate=asked(tested, task))
    assert tested.merges() == 0
