"""A user's repository at a path with special characters, and a folder for locks."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.git.refs import create_branch
from actors.git.repository import Repository, open_repository
from store.shared.ref_names import integration_branch
from tests.actors.git.user_repository import UserRepository


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without a git configuration, so that this machine's own has no influence."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def user(tmp_path: Path) -> UserRepository:
    return UserRepository(tmp_path / "mein Repo äöü", files={"a.txt": "1\n2\n3\n", "lib/b.txt": "b\n"})


@pytest.fixture
def repository(user: UserRepository) -> Repository:
    return open_repository(user.path)


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "crew home" / "locks"


@pytest.fixture
def integration(repository: Repository, locks: Path) -> str:
    branch = integration_branch("demo")
    create_branch(repository, branch, repository.head_commit, locks=locks)
    return branch
