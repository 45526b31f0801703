"""From a spec to a project's rows and its branch, without a crew."""

from __future__ import annotations

import pytest

from actors.home import Home
from actors.settings import Config
from store import crew, inbox, timers
from store.engine import Store
from store.states import ProjectState
from supervisor.project_spec import deploy as deploying
from supervisor.project_spec.deploy import deploy
from supervisor.project_spec.names import ProjectNameTaken
from supervisor.project_spec.parse import parse_spec
from supervisor.project_spec.spec import Spec
from tests.actors.git.user_repository import UserRepository
from tests.supervisor.cli.conftest import FILES, SPEC


def _spec(text: str = SPEC) -> Spec:
    return parse_spec(text, "spec")


def test_a_project_comes_with_branch_crew_check_ins_and_a_briefing(
    store: Store, home: Home, repository: UserRepository
) -> None:
    row = deploy(store, home, Config(), _spec(), repository.path, 3, True)
    assert (row.name, row.engineers, row.with_qa) == ("shop", 3, True)
    assert row.checks == ["python3 -m unittest -v test_shop"]
    assert row.spec.deliverables == ("total(prices) in shop.py",)
    assert repository.git("rev-parse", row.branch) == repository.git("rev-parse", "main")
    assert {a.name for a in crew.all_agents(store, project="shop")} == {"gate.shop", "pm.shop", "qa.shop"}
    assert {t.recipient: t.every_s for t in timers.listed(store)} == {
        "pm.shop": 1800,
        "orchestrator": 3600,
    }
    (briefing,) = inbox.listed(store, recipient="pm.shop")
    assert briefing.kind == "project_briefed"
    assert inbox.listed(store, recipient="supervisor")


def test_the_same_spec_again_is_the_same_project(
    store: Store, home: Home, repository: UserRepository
) -> None:
    first = deploy(store, home, Config(), _spec(), repository.path)
    assert deploy(store, home, Config(), _spec(), repository.path) == first
    assert len(inbox.listed(store, recipient="pm.shop")) == 1


def test_another_spec_of_a_live_projects_name_is_refused(
    store: Store, home: Home, repository: UserRepository
) -> None:
    deploy(store, home, Config(), _spec(), repository.path)
    with pytest.raises(ProjectNameTaken, match="nightcrew cancel shop"):
        deploy(store, home, Config(), _spec(SPEC + "\nNOTES: more\n"), repository.path)


def test_another_repository_under_a_live_projects_name_is_refused(
    store: Store, home: Home, repository: UserRepository
) -> None:
    deploy(store, home, Config(), _spec(), repository.path)
    other = UserRepository(repository.path.parent / "other", files=FILES)
    with pytest.raises(ProjectNameTaken, match="the repository"):
        deploy(store, home, Config(), _spec(), other.path)


def test_after_its_end_the_next_project_of_that_name_is_numbered(
    store: Store, home: Home, repository: UserRepository
) -> None:
    deploy(store, home, Config(), _spec(), repository.path)
    with store.write() as tx:
        crew.set_project_state(tx, "shop", ProjectState.FINISHED)
    second = deploy(store, home, Config(), _spec(), repository.path)
    assert (second.name, second.branch) == ("shop-2", "nightcrew/shop-2/integration")
    assert deploy(store, home, Config(), _spec(), repository.path) == second


def test_a_project_called_shop_2_is_not_the_second_shop(
    store: Store, home: Home, repository: UserRepository
) -> None:
    deploy(store, home, Config(), _spec(SPEC.replace("Shop", "Shop 2")), repository.path)
    assert deploy(store, home, Config(), _spec(), repository.path).name == "shop"


def test_branches_that_another_crew_left_are_not_taken_over(
    store: Store, home: Home, repository: UserRepository
) -> None:
    repository.git("branch", "nightcrew/shop/t1")
    assert deploy(store, home, Config(), _spec(), repository.path).name == "shop-2"


def test_a_deploy_that_was_killed_after_its_branch_is_finished_by_the_next(
    store: Store, home: Home, repository: UserRepository
) -> None:
    repository.git("branch", "nightcrew/shop/integration")
    assert deploy(store, home, Config(), _spec(), repository.path).name == "shop"


def test_the_users_repository_is_as_it_was_but_for_one_branch(
    store: Store, home: Home, repository: UserRepository
) -> None:
    repository.write({"shop.py": "unsaved work\n"})
    before = repository.belongings()
    site = deploying.inspect(_spec(), repository.path)
    assert any("uncommitted changes" in warning for warning in site.warnings)
    deploy(store, home, Config(), _spec(), repository.path, site=site)
    assert repository.belongings() == before
    assert repository.git("branch", "--list", "nightcrew/*").split() == ["nightcrew/shop/integration"]


def test_without_checks_they_are_found_and_their_source_is_kept(
    store: Store, home: Home, repository: UserRepository
) -> None:
    bare = SPEC.partition("CHECKS:")[0]
    row = deploy(store, home, Config(), _spec(bare), repository.path)
    assert "unittest" in row.checks[0]
    assert "found in the repository" in row.checks_source


def test_a_detached_head_is_a_base_like_any_other(
    store: Store, home: Home, repository: UserRepository
) -> None:
    repository.git("checkout", "--quiet", "--detach")
    row = deploy(store, home, Config(), _spec(), repository.path)
    assert row.base_branch is None
    assert row.base_commit == repository.git("rev-parse", "HEAD")
