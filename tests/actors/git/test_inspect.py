"""Every path that a user may give yields a repository or an error with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.git import repository as repository_module
from actors.git.errors import (
    BareRepositoryError,
    BranchBlockedError,
    GitTooOldError,
    NoCommitError,
    NotARepositoryError,
    PathMissingError,
    WorkspaceError,
)
from actors.git.refs import create_branch, head_of, move_ref
from actors.git.repository import Repository, open_repository
from store.shared.ref_names import task_branch
from tests.actors.git.user_repository import UserRepository


def test_clean_repository_at_a_path_with_spaces_and_umlauts_is_described(user: UserRepository) -> None:
    found = open_repository(user.path)
    assert (found.root, found.git_dir) == (user.path, user.path / ".git")
    assert (found.head_branch, found.head_commit) == ("main", user.git("rev-parse", "HEAD"))
    assert not found.is_dirty
    assert found.warnings == ()


def test_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PathMissingError, match="does not exist"):
        open_repository(tmp_path / "nowhere")


def test_folder_outside_any_repository_is_refused_with_the_commands_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotARepositoryError, match="git init"):
        open_repository(tmp_path)


def test_file_is_refused(user: UserRepository) -> None:
    with pytest.raises(NotARepositoryError, match="is a file"):
        open_repository(user.path / "a.txt")


def test_bare_repository_is_refused(tmp_path: Path, user: UserRepository) -> None:
    user.git("clone", "--quiet", "--bare", str(user.path), str(tmp_path / "bare.git"))
    with pytest.raises(BareRepositoryError, match="git clone"):
        open_repository(tmp_path / "bare.git")


def test_git_folder_itself_is_refused(user: UserRepository) -> None:
    with pytest.raises(NotARepositoryError, match="folder above"):
        open_repository(user.path / ".git")


def test_repository_without_a_commit_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    empty = UserRepository(tmp_path / "empty")
    with pytest.raises(NoCommitError, match="git commit"):
        open_repository(empty.path)


def test_old_git_is_refused_with_both_versions(user: UserRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository_module, "git_version", lambda: (2, 30))
    with pytest.raises(GitTooOldError, match=r"git 2\.30 is too old: 2\.38"):
        open_repository(user.path)


def test_detached_head_is_the_base_and_gives_a_warning(user: UserRepository) -> None:
    user.git("checkout", "--quiet", "--detach")
    found = open_repository(user.path)
    assert found.head_branch is None
    assert found.head_commit == user.git("rev-parse", "HEAD")
    assert "detached" in found.warnings[0]


def test_uncommitted_changes_give_a_warning_and_stay(user: UserRepository) -> None:
    user.write({"a.txt": "changed\n", "neu ü.txt": "x"})
    before = user.belongings()
    found = open_repository(user.path)
    assert found.is_dirty
    assert "2 files" in found.warnings[0]
    assert user.belongings() == before


def test_subfolder_resolves_to_the_root_with_a_warning(user: UserRepository) -> None:
    found = open_repository(user.path / "lib")
    assert found.root == user.path
    assert "the whole repository" in found.warnings[0]


def test_linked_worktree_of_the_user_shares_the_git_folder(tmp_path: Path, user: UserRepository) -> None:
    user.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    found = open_repository(tmp_path / "side")
    assert (found.root, found.git_dir, found.head_branch) == (tmp_path / "side", user.path / ".git", "side")


def test_submodules_lfs_and_a_branch_of_the_crew_checked_out_give_warnings(user: UserRepository) -> None:
    user.git("checkout", "--quiet", "-b", "nightcrew/demo/integration")
    user.commit("odd", {".gitattributes": "*.png filter=lfs\n", ".gitmodules": ""})
    text = "\n".join(open_repository(user.path).warnings)
    assert "Submodules" in text
    assert "LFS" in text
    assert "The crew will update this branch without updating your files" in text


def test_creating_a_branch_twice_keeps_the_work_on_it(
    user: UserRepository, repository: Repository, locks: Path
) -> None:
    branch = task_branch("demo", 1)
    assert create_branch(repository, branch, repository.head_commit, locks=locks) == repository.head_commit
    newer = user.commit("more", {"a.txt": "x"})
    user.git("branch", "--force", branch, newer)
    assert create_branch(repository, branch, repository.head_commit, locks=locks) == newer


def test_conflicting_branch_of_the_user_is_named_with_the_command_to_rename_it(
    user: UserRepository, repository: Repository, locks: Path
) -> None:
    user.git("branch", "nightcrew")
    with pytest.raises(BranchBlockedError, match="git branch -m nightcrew my-nightcrew"):
        create_branch(repository, "nightcrew/demo/t1", repository.head_commit, locks=locks)


def test_stale_lock_of_a_reference_does_not_block_for_ever(repository: Repository, locks: Path) -> None:
    stale = repository.git_dir / "refs/heads/nightcrew/demo/t1.lock"
    stale.parent.mkdir(parents=True)
    stale.touch()
    create_branch(repository, "nightcrew/demo/t1", repository.head_commit, locks=locks)
    assert head_of(repository, "nightcrew/demo/t1") == repository.head_commit


def test_references_of_the_user_can_not_be_moved(repository: Repository, locks: Path) -> None:
    with pytest.raises(WorkspaceError, match="does not belong to the crew"):
        move_ref(repository, "refs/heads/main", repository.head_commit, repository.head_commit, locks=locks)
