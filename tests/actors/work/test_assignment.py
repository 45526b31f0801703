"""Who gets which task: the rules of `actors.work` on a real store."""

from __future__ import annotations

from typing import Unpack

import pytest

from actors.work import assignment, deliverables, outcomes
from store import crew, inbox, tasks
from store.crew import AgentChange
from store.engine import Store
from store.rows import ProjectSpec, Task
from store.states import AgentState, ProjectState, Role, TaskState
from tests.support.stores import NOW

DELIVERABLES = ("Login and logout endpoints", "Session management")


@pytest.fixture
def shop(store: Store) -> Store:
    """A project with two engineers allowed and its manager; nobody is hired yet."""
    with store.write() as tx:
        crew.add_project(
            tx,
            now=NOW,
            name="shop",
            title="Shop",
            repository="nowhere",
            branch="nightcrew/shop/integration",
            base_branch="main",
            base_commit="0" * 40,
            goal="Let people in",
            spec=ProjectSpec(deliverables=DELIVERABLES),
            checks=[],
            checks_source="none",
            engineers=2,
            with_qa=False,
        )
        crew.add_agent(tx, name="pm.shop", kind="agent", role=Role.PROJECT_MANAGER, project="shop", now=NOW)
    return store


def plan(store: Store, title: str) -> Task:
    with store.write() as tx:
        project = crew.project(tx, "shop")
        task = assignment.plan(
            tx, project, title=title, description=title, role=Role.ENGINEER, by="pm.shop", now=NOW
        )
    return tasks.get(store, task)


@pytest.mark.parametrize(
    ("text", "taken", "expected"),
    [
        ("Logout endpoint", {1}, 1),
        ("Session management", {1}, 2),
        ("Session management", {1, 2}, 2),
        ("Anmeldung bauen", set(), 1),
        ("Anmeldung bauen", {1}, 2),
        ("Anmeldung bauen", {1, 2}, None),
    ],
)
def test_a_task_is_about_the_deliverable_whose_words_it_shares(
    text: str, taken: set[int], expected: int | None
) -> None:
    assert deliverables.best_match(text, DELIVERABLES, taken) == expected


def test_a_deliverable_that_was_only_split_off_another_stays_uncovered(shop: Store) -> None:
    plan(shop, "Login endpoint")
    plan(shop, "Logout endpoint")
    rows = tasks.of_project(shop, "shop")
    assert deliverables.uncovered(crew.project(shop, "shop"), rows) == [2]


def test_a_paused_engineer_gets_no_task_while_another_may_be_hired(shop: Store) -> None:
    with shop.write() as tx:
        crew.add_agent(tx, name="engineer-1.shop", kind="agent", role=Role.ENGINEER, project="shop", now=NOW)
        crew.change_agent(tx, "engineer-1.shop", paused=True)
    assert plan(shop, "Login endpoint").assignee == "engineer-2.shop"


def test_a_hire_gets_the_first_free_name(shop: Store) -> None:
    with shop.write() as tx:
        crew.add_agent(tx, name="engineer-2.shop", kind="agent", role=Role.ENGINEER, project="shop", now=NOW)
    first, second = plan(shop, "Login endpoint"), plan(shop, "Session management")
    assert {first.assignee, second.assignee} == {"engineer-1.shop", "engineer-2.shop"}


def test_a_task_beyond_the_limit_waits_and_goes_to_whoever_is_free_first(shop: Store) -> None:
    first = plan(shop, "Login endpoint")
    plan(shop, "Session management")
    third = plan(shop, "Logout endpoint")
    assert third.state == TaskState.PLANNED
    with shop.write() as tx:
        outcomes.park(tx, tasks.current(tx, first.id), reason="no use", by="test", now=NOW)
    assert tasks.get(shop, third.id).assignee == first.assignee


def test_the_same_title_again_plans_nothing_twice(shop: Store) -> None:
    assert plan(shop, "Login endpoint").id == plan(shop, " login ENDPOINT ").id


ENGINEERS = ("engineer-1.shop", "engineer-2.shop")
AWAY: dict[str, dict[str, object]] = {
    "paused": {"paused": True},
    "in_quarantine": {"state": AgentState.QUARANTINED},
    "sent_home": {"wanted": False},
}


def hired(shop: Store, **values: Unpack[AgentChange]) -> None:
    """Both engineers that the project may have, both as `values` say."""
    with shop.write() as tx:
        for name in ENGINEERS:
            crew.add_agent(tx, name=name, kind="agent", role=Role.ENGINEER, project="shop", now=NOW)
            change: AgentChange = {"state": AgentState.RUNNING, **values}
            crew.change_agent(tx, name, **change)


def letters(shop: Store, kind: str) -> list[str]:
    """To whom messages of a kind were sent."""
    return [row.recipient for row in inbox.listed(shop) if row.kind == kind]


@pytest.mark.parametrize("values", AWAY.values(), ids=AWAY)
def test_a_task_is_not_assigned_to_an_agent_that_does_not_work(shop: Store, values: AgentChange) -> None:
    hired(shop, **values)
    task = plan(shop, "Login endpoint")
    assert (task.state, task.assignee, letters(shop, "task_assigned")) == (TaskState.PLANNED, None, [])
    with shop.write() as tx:
        crew.change_agent(tx, ENGINEERS[1], paused=False, state=AgentState.RUNNING, wanted=True)
        assignment.assign_waiting(tx, crew.project(tx, "shop"), now=NOW)
    assert letters(shop, "task_assigned") == [ENGINEERS[1]]


def test_nothing_is_assigned_while_the_project_is_paused(shop: Store) -> None:
    hired(shop)
    with shop.write() as tx:
        crew.set_project_state(tx, "shop", ProjectState.PAUSED)
    assert plan(shop, "Login endpoint").state == TaskState.PLANNED


def in_progress(shop: Store) -> int:
    task = int(str(plan(shop, "Login endpoint").id))
    with shop.write() as tx:
        tasks.move(tx, task, TaskState.IN_PROGRESS, by="test", reason="started", now=NOW)
    return task


def test_the_task_of_an_agent_that_goes_into_quarantine_goes_to_another(shop: Store) -> None:
    hired(shop)
    task = in_progress(shop)
    with shop.write() as tx:
        crew.change_agent(tx, ENGINEERS[0], state=AgentState.QUARANTINED)
        assignment.on_quarantine(tx, ENGINEERS[0], "crashed", now=NOW)
    assert tasks.get(shop, task).assignee == ENGINEERS[1]
    assert crew.agent(shop, ENGINEERS[0]).task is None


@pytest.mark.parametrize("others", [True, False], ids=["with_another_free", "with_nobody_free"])
def test_a_task_that_is_not_accepted_does_not_go_back_to_an_agent_in_quarantine(
    shop: Store, others: bool
) -> None:
    hired(shop)
    task = in_progress(shop)
    with shop.write() as tx:
        tasks.move(tx, task, TaskState.SUBMITTED, by="test", reason="done", now=NOW)
        crew.change_agent(tx, ENGINEERS[0], state=AgentState.QUARANTINED)
        crew.change_agent(tx, ENGINEERS[1], paused=not others)
        outcomes.return_task(
            tx, tasks.current(tx, task), feedback="It fails.", limit=5, by="gate.shop", now=NOW
        )
    row = tasks.get(shop, task)
    assert letters(shop, "task_returned") == []
    assert (row.attempts, row.feedback) == (1, "It fails.")
    if others:
        assert (row.state, row.assignee) == (TaskState.ASSIGNED, ENGINEERS[1])
    else:
        assert row.state == TaskState.PLANNED


def cancelled(shop: Store, title: str) -> int:
    task = int(str(plan(shop, title).id))
    with shop.write() as tx:
        outcomes.park(tx, tasks.current(tx, task), reason="cancelled by the human", by="human", now=NOW)
    return task


def test_a_cancelled_tasks_deliverable_is_free_for_another_task(shop: Store) -> None:
    cancelled(shop, "Login endpoint")
    assert plan(shop, "Anmeldung bauen").deliverable == 1


def test_a_cancelled_tasks_title_may_be_planned_again(shop: Store) -> None:
    first = cancelled(shop, "Login endpoint")
    again = plan(shop, "Login endpoint")
    assert (again.deliverable, again.id == first) == (1, False)
    assert again.state == TaskState.ASSIGNED
