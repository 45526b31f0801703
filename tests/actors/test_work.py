"""Who gets which task: the rules of `actors.work` on a real store."""

from __future__ import annotations

import pytest

from actors import work
from store import crew, tasks
from store.engine import Store
from store.states import Role, TaskState
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
            spec={"raw": "", "deliverables": list(DELIVERABLES)},
            checks=[],
            checks_source="none",
            engineers=2,
            with_qa=False,
        )
        crew.add_agent(tx, name="pm.shop", kind="agent", role="project_manager", project="shop", now=NOW)
    return store


def plan(store: Store, title: str) -> dict[str, object]:
    with store.write() as tx:
        project = crew.project(tx, "shop")
        task = work.plan(
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
    assert work.deliverable_for(text, DELIVERABLES, taken) == expected


def test_a_deliverable_that_was_only_split_off_another_stays_uncovered(shop: Store) -> None:
    plan(shop, "Login endpoint")
    plan(shop, "Logout endpoint")
    rows = tasks.of_project(shop, "shop")
    assert work.uncovered(crew.project(shop, "shop"), rows) == [2]


def test_a_paused_engineer_gets_no_task_while_another_may_be_hired(shop: Store) -> None:
    with shop.write() as tx:
        crew.add_agent(tx, name="engineer-1.shop", kind="agent", role="engineer", project="shop", now=NOW)
        crew.change_agent(tx, "engineer-1.shop", paused=True)
    assert plan(shop, "Login endpoint")["assignee"] == "engineer-2.shop"


def test_a_hire_takes_the_first_free_name_and_never_somebody_at_work(shop: Store) -> None:
    with shop.write() as tx:
        crew.add_agent(tx, name="engineer-2.shop", kind="agent", role="engineer", project="shop", now=NOW)
    first, second = plan(shop, "Login endpoint"), plan(shop, "Session management")
    assert {first["assignee"], second["assignee"]} == {"engineer-1.shop", "engineer-2.shop"}


def test_a_task_beyond_the_limit_waits_and_goes_to_whoever_is_free_first(shop: Store) -> None:
    first = plan(shop, "Login endpoint")
    plan(shop, "Session management")
    third = plan(shop, "Logout endpoint")
    assert third["state"] == TaskState.PLANNED
    with shop.write() as tx:
        work.park(tx, tasks.current(tx, int(str(first["id"]))), reason="no use", by="test", now=NOW)
    assert tasks.get(shop, int(str(third["id"])))["assignee"] == first["assignee"]


def test_the_same_title_again_plans_nothing_twice(shop: Store) -> None:
    assert plan(shop, "Login endpoint")["id"] == plan(shop, " login ENDPOINT ")["id"]
