"""The integration branch is merged into a task's worktree, or leaves conflict markers for the agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.git.checkouts import ensure_worktree
from actors.git.commits import commit_all
from actors.git.errors import WorkspaceError
from actors.git.merge import merge_trees, sync_worktree
from actors.git.pending_merge import unresolved_files
from actors.git.repository import Repository, open_repository
from actors.git.worktree import Worktree
from tests.actors.git.user_repository import UserRepository, write

BRANCH = "nightcrew/demo/t1"


@pytest.fixture
def worktree(repository: Repository, tmp_path: Path, locks: Path) -> Worktree:
    return ensure_worktree(repository, tmp_path / "w" / "t1", BRANCH, repository.head_commit, locks=locks)


@pytest.fixture
def other(repository: Repository, tmp_path: Path, locks: Path, integration: str) -> Worktree:
    path = tmp_path / "w" / "other"
    return ensure_worktree(repository, path, integration, repository.head_commit, locks=locks)


def accept(other: Worktree, files: dict[str, str], locks: Path) -> str:
    write(other.path, files)
    sha = commit_all(other, "accepted", locks=locks)
    assert sha is not None
    return sha


def test_worktree_that_holds_everything_is_up_to_date(
    worktree: Worktree, integration: str, locks: Path
) -> None:
    assert sync_worktree(worktree, integration, locks=locks).state == "up_to_date"


def test_clean_merge_brings_files_in_and_commits_dirty_work_first(
    worktree: Worktree, other: Worktree, integration: str, locks: Path, user: UserRepository
) -> None:
    accept(other, {"accepted ü.txt": "new\n", "lib/b.txt": "better\n"}, locks)
    write(worktree.path, {"a.txt": "1\n2\nmine\n"})
    synced = sync_worktree(worktree, integration, locks=locks)
    assert (synced.state, synced.commit) == ("merged", user.git("rev-parse", BRANCH))
    assert (worktree.path / "accepted ü.txt").read_text() == "new\n"
    assert (worktree.path / "a.txt").read_text() == "1\n2\nmine\n"
    assert user.git("status", "--porcelain", cwd=worktree.path) == ""
    assert sync_worktree(worktree, integration, locks=locks).state == "up_to_date"


def test_conflict_leaves_markers_and_the_edit_of_the_agent_completes_the_merge(
    worktree: Worktree, other: Worktree, integration: str, locks: Path, user: UserRepository
) -> None:
    theirs = accept(other, {"a.txt": "1\ntheirs\n3\n", "lib/b.txt": "better\n"}, locks)
    write(worktree.path, {"a.txt": "1\nmine\n3\n"})
    synced = sync_worktree(worktree, integration, locks=locks)
    assert (synced.state, synced.files) == ("conflict", ("a.txt",))
    assert synced.messages == ("CONFLICT (content): Merge conflict in a.txt",)
    text = (worktree.path / "a.txt").read_text()
    assert f"<<<<<<< {BRANCH}\nmine\n=======\ntheirs\n>>>>>>> {integration}\n" in text
    assert (worktree.path / "lib/b.txt").read_text() == "better\n"
    write(worktree.path, {"a.txt": "1\nboth\n3\n"})
    commit_all(worktree, "resolved", locks=locks)
    assert theirs in user.git("show", "--no-patch", "--format=%P", BRANCH).split()
    assert sync_worktree(worktree, integration, locks=locks).state == "up_to_date"


def test_commit_while_markers_are_left_saves_work_without_completing_the_merge(
    worktree: Worktree, other: Worktree, integration: str, locks: Path, user: UserRepository
) -> None:
    theirs = accept(other, {"a.txt": "1\ntheirs\n3\n"}, locks)
    write(worktree.path, {"a.txt": "1\nmine\n3\n"})
    sync_worktree(worktree, integration, locks=locks)
    assert commit_all(worktree, "in between", locks=locks)
    assert theirs not in user.git("log", "--format=%H", BRANCH)
    assert unresolved_files(worktree) == ("a.txt",)
    assert sync_worktree(worktree, integration, locks=locks).files == ("a.txt",)
    write(worktree.path, {"a.txt": "1\nmine\n3\n"})
    assert commit_all(worktree, "resolved", locks=locks)
    assert theirs in user.git("log", "--format=%H", BRANCH)


def test_conflict_without_markers_keeps_the_changed_file_and_is_reported(
    worktree: Worktree, other: Worktree, integration: str, locks: Path
) -> None:
    (other.path / "a.txt").unlink()
    commit_all(other, "deleted", locks=locks)
    write(worktree.path, {"a.txt": "mine\n"})
    synced = sync_worktree(worktree, integration, locks=locks)
    assert synced.state == "conflict"
    assert "deleted in" in synced.messages[0]
    assert (worktree.path / "a.txt").read_text() == "mine\n"
    assert unresolved_files(worktree) == ()
    assert sync_worktree(worktree, integration, locks=locks).state == "up_to_date"


def test_custom_merge_driver_of_the_user_is_replaced_by_a_text_merge(
    worktree: Worktree, other: Worktree, integration: str, locks: Path, user: UserRepository, tmp_path: Path
) -> None:
    user.git("config", "merge.odd.driver", f"touch {tmp_path}/pwned; true")
    repository = open_repository(user.path)
    accept(other, {"a.txt": "1\ntheirs\n3\n", ".gitattributes": "a.txt merge=odd\n"}, locks)
    write(worktree.path, {"a.txt": "1\nmine\n3\n", ".gitattributes": "a.txt merge=odd\n"})
    mine = commit_all(worktree, "mine", locks=locks)
    assert mine is not None
    repaired = ensure_worktree(repository, worktree.path, BRANCH, mine, locks=locks)
    assert sync_worktree(repaired, integration, locks=locks).files == ("a.txt",)
    assert not (tmp_path / "pwned").exists()


def test_several_conflicting_names_with_odd_characters_are_all_listed(
    worktree: Worktree, other: Worktree, integration: str, locks: Path
) -> None:
    names = ("neue\nZeile.txt", "ü ö.txt", "z.txt")
    accept(other, dict.fromkeys(names, "theirs\n"), locks)
    write(worktree.path, dict.fromkeys(names, "mine\n"))
    commit_all(worktree, "mine", locks=locks)
    merged = merge_trees(worktree.repository.git(), BRANCH, integration)
    assert set(merged.conflicts) == set(names)
    assert len(merged.messages) == 3


def test_unknown_commit_is_refused(worktree: Worktree, locks: Path) -> None:
    with pytest.raises(WorkspaceError, match="no such commit"):
        sync_worktree(worktree, "nightcrew/demo/nowhere", locks=locks)
