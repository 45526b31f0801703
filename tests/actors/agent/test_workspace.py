"""The folders of an agent: commits of unfinished work, and views."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.agent.workspace import Workspace
from actors.git.refs import head_of
from actors.git.repository import open_repository
from actors.home import Home
from actors.runtime.context import Runtime
from actors.runtime.wake import Waker
from actors.settings import Config
from store import crew, tasks
from store.engine import Store
from store.states import Role
from tests.actors.git.user_repository import UserRepository
from tests.support.stores import NOW, add_project


def workspace(folder: Path, store: Store, commit_minutes: float) -> tuple[Workspace, Waker]:
    home = Home(folder / "home")
    home.make()
    config = Config.model_validate({"work": {"commit_minutes": commit_minutes}})
    waker = Waker(home.run)
    return Workspace(Runtime("engineer-1.shop", 1, home, config, store, waker)), waker


@pytest.mark.parametrize(("commit_minutes", "is_due"), [(1e-6, True), (30.0, False)])
def test_unfinished_work_is_committed_once_its_time_has_come(
    tmp_path: Path, store: Store, commit_minutes: float, is_due: bool
) -> None:
    user = UserRepository(tmp_path / "repository", files={"a.py": "x = 1\n"})
    repository = open_repository(user.path)
    base = repository.head_commit
    add_project(store, "shop", repository=str(user.path), branch="main", base_commit=base)
    with store.write() as tx:
        added = tasks.add(
            tx,
            project="shop",
            title="one",
            description="",
            role=Role.ENGINEER,
            deliverable=1,
            by="pm",
            now=NOW,
        )
        tasks.amend(tx, added, now=NOW, base_commit=base)
    task = tasks.get(store, added)
    files, waker = workspace(tmp_path, store, commit_minutes)
    try:
        assert files.open_task(task) == base
        (files.worktree_of(task.id).path / "b.py").write_text("y = 2\n")
        commit = files.commit_if_due()
        head = head_of(repository, "nightcrew/shop/t1")
        assert (commit is not None) is is_due
        assert head == (commit or base)
        if is_due:
            assert user.show(head, "b.py").strip() == "y = 2"
    finally:
        waker.close()


def test_a_view_is_removed_when_it_is_closed_and_a_second_close_is_harmless(
    tmp_path: Path, store: Store
) -> None:
    user = UserRepository(tmp_path / "repository", files={"a.py": "x = 1\n"})
    add_project(store, "shop", repository=str(user.path), branch="main", base_commit="0" * 40)
    files, waker = workspace(tmp_path, store, 30.0)
    try:
        files.open_view(crew.project(store, "shop"), None)
        view = Home(tmp_path / "home").worktree("shop", "view-engineer-1")
        assert (files.has_view, (view / "a.py").exists()) == (True, True)
        for _ in range(2):
            files.close_view()
            assert (files.has_view, view.exists()) == (False, False)
    finally:
        waker.close()
