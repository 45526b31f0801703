"""A worktree is created once, found again, and repaired after any damage."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from actors.git.checkouts import checkout_scratch, ensure_worktree, open_worktree, remove_worktree
from actors.git.commits import commit_all
from actors.git.errors import OccupiedPathError, WorkspaceError
from actors.git.refs import head_of
from actors.git.repository import Repository, open_repository
from actors.git.worktree import Worktree
from tests.actors.git.user_repository import ENVIRONMENT, UserRepository, write

BRANCH = "nightcrew/demo/t1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "crew home" / "Bäume" / "t1"


@pytest.fixture
def worktree(repository: Repository, path: Path, locks: Path) -> Worktree:
    return ensure_worktree(repository, path, BRANCH, repository.head_commit, locks=locks)


def again(worktree: Worktree, locks: Path) -> Worktree:
    repository = worktree.repository
    return ensure_worktree(repository, worktree.path, BRANCH, repository.head_commit, locks=locks)


def test_new_worktree_holds_the_files_of_the_start_commit(worktree: Worktree, user: UserRepository) -> None:
    assert (worktree.path / "a.txt").read_text() == "1\n2\n3\n"
    assert user.git("status", "--porcelain", cwd=worktree.path) == ""
    assert user.git("branch", "--show-current", cwd=worktree.path) == BRANCH
    assert worktree.repairs == ()


def test_second_call_keeps_uncommitted_work_and_repairs_nothing(worktree: Worktree, locks: Path) -> None:
    write(worktree.path, {"a.txt": "dirty\n", "neu.txt": "new\n"})
    assert again(worktree, locks) == worktree
    assert (worktree.path / "a.txt").read_text() == "dirty\n"
    assert (worktree.path / "neu.txt").exists()


def test_deleted_worktree_comes_back_at_the_last_commit(worktree: Worktree, locks: Path) -> None:
    write(worktree.path, {"a.txt": "saved\n"})
    commit_all(worktree, "save", locks=locks)
    shutil.rmtree(worktree.path)
    assert again(worktree, locks).path == worktree.path
    assert (worktree.path / "a.txt").read_text() == "saved\n"


def test_worktree_whose_entry_was_pruned_is_attached_again_with_its_dirty_files(
    worktree: Worktree, locks: Path, user: UserRepository
) -> None:
    write(worktree.path, {"a.txt": "dirty\n"})
    shutil.rmtree(worktree.git_dir)
    repaired = again(worktree, locks)
    assert "attached again" in repaired.repairs[0]
    assert user.git("status", "--porcelain", cwd=worktree.path) == "M a.txt"


@pytest.mark.parametrize("swap", ["file", "folder", "link", "nothing"])
def test_swapped_git_file_is_restored_before_git_runs(
    worktree: Worktree, locks: Path, tmp_path: Path, user: UserRepository, swap: str
) -> None:
    link = worktree.path / ".git"
    link.unlink()
    evil = UserRepository(tmp_path / "evil", files={"x": "x"})
    evil.git("config", "core.fsmonitor", f"touch {tmp_path}/pwned; false")
    if swap == "file":
        link.write_text(f"gitdir: {evil.path}/.git\n")
    elif swap == "folder":
        shutil.copytree(evil.path / ".git", link)
    elif swap == "link":
        link.symlink_to(evil.path / ".git")
    write(worktree.path, {"a.txt": "work\n"})
    assert commit_all(worktree, "save", locks=locks) == user.git("rev-parse", BRANCH)
    assert user.show(BRANCH, "a.txt") == "work"
    assert link.read_text() == f"gitdir: {worktree.git_dir}\n"
    assert "was restored" not in str(again(worktree, locks).repairs)
    assert not (tmp_path / "pwned").exists()


def test_head_moved_to_another_branch_is_switched_back_and_files_are_kept(
    worktree: Worktree, locks: Path, user: UserRepository
) -> None:
    user.git("checkout", "--quiet", "-b", "elsewhere", cwd=worktree.path)
    write(worktree.path, {"a.txt": "work\n"})
    assert "switched back" in again(worktree, locks).repairs[0]
    commit_all(worktree, "save", locks=locks)
    assert user.show(BRANCH, "a.txt") == "work"


@pytest.mark.parametrize("content", [b"", b"rubbish", None])
def test_damaged_index_is_rebuilt_and_no_file_is_lost(
    worktree: Worktree, locks: Path, user: UserRepository, content: bytes | None
) -> None:
    index = worktree.git_dir / "index"
    index.unlink()
    if content is not None:
        index.write_bytes(content)
    write(worktree.path, {"a.txt": "work\n"})
    again(worktree, locks)
    assert user.git("status", "--porcelain", cwd=worktree.path) == "M a.txt"


def test_stale_index_lock_does_not_block_for_ever(worktree: Worktree, locks: Path) -> None:
    (worktree.git_dir / "index.lock").touch()
    write(worktree.path, {"a.txt": "work\n"})
    assert commit_all(worktree, "save", locks=locks) is not None


def test_worktree_locked_by_a_person_is_used_and_stays_locked(
    worktree: Worktree, locks: Path, user: UserRepository
) -> None:
    user.git("worktree", "lock", "--reason", "on a stick", str(worktree.path))
    shutil.rmtree(worktree.path)
    worktree.path.mkdir()
    again(worktree, locks)
    assert (worktree.path / "a.txt").exists()


def test_git_killed_in_the_middle_of_worktree_add_is_repaired(
    user: UserRepository, path: Path, locks: Path
) -> None:
    user.commit("many", {f"many/{number}.txt": f"{number}\n" for number in range(2000)})
    repository = open_repository(user.path)
    user.git("branch", BRANCH)
    path.parent.mkdir(parents=True)
    process = subprocess.Popen(
        ["git", "worktree", "add", "--quiet", str(path), BRANCH],
        cwd=user.path,
        env=ENVIRONMENT,
        process_group=0,
    )
    deadline = time.monotonic() + 20
    while not (path / "many" / "1.txt").exists() and time.monotonic() < deadline:
        pass
    subprocess.run(["kill", "-KILL", "--", f"-{process.pid}"], check=True)
    assert process.wait() == -signal.SIGKILL
    assert (repository.git_dir / "worktrees" / "t1" / "locked").exists()
    worktree = ensure_worktree(repository, path, BRANCH, repository.head_commit, locks=locks)
    assert user.git("status", "--porcelain", cwd=worktree.path) == ""
    assert len(list((path / "many").iterdir())) == 2000


def test_folder_of_someone_else_is_neither_used_nor_removed(
    repository: Repository, path: Path, locks: Path
) -> None:
    write(path, {"precious.txt": "x"})
    with pytest.raises(OccupiedPathError, match="move it away"):
        ensure_worktree(repository, path, BRANCH, repository.head_commit, locks=locks)
    with pytest.raises(OccupiedPathError, match="move it away"):
        remove_worktree(repository, path, locks=locks)
    assert (path / "precious.txt").exists()


def test_removing_twice_is_harmless_and_keeps_the_branch(
    worktree: Worktree, locks: Path, user: UserRepository
) -> None:
    folder = worktree.path / "read-only"
    write(folder, {"x": "x"})
    folder.chmod(0o500)
    for _ in range(2):
        remove_worktree(worktree.repository, worktree.path, locks=locks)
    assert not worktree.path.exists()
    assert user.git("worktree", "list", "--porcelain").count("worktree ") == 1
    assert head_of(worktree.repository, BRANCH) == worktree.repository.head_commit


def test_missing_worktrees_of_the_user_are_not_pruned(
    user: UserRepository, tmp_path: Path, repository: Repository, path: Path, locks: Path
) -> None:
    user.git("worktree", "add", "--quiet", "-b", "stick", str(tmp_path / "stick"))
    (tmp_path / "stick").rename(tmp_path / "unplugged")
    ensure_worktree(repository, path, BRANCH, repository.head_commit, locks=locks)
    remove_worktree(repository, path, locks=locks)
    (tmp_path / "unplugged").rename(tmp_path / "stick")
    assert user.git("status", "--porcelain", cwd=tmp_path / "stick") == ""


def test_scratch_worktree_is_fresh_each_time(repository: Repository, path: Path, locks: Path) -> None:
    for _ in range(2):
        scratch = checkout_scratch(repository, repository.head_commit, path, locks=locks)
        assert not (path / "left-over").exists()
        assert scratch.branch is None
        write(path, {"left-over": "x", "a.txt": "changed"})
    with pytest.raises(WorkspaceError, match="without a branch"):
        commit_all(scratch, "no", locks=locks)


def test_open_finds_the_worktree_and_its_branch(worktree: Worktree, tmp_path: Path) -> None:
    assert open_worktree(worktree.repository, worktree.path) == worktree
    with pytest.raises(WorkspaceError, match="not a worktree"):
        open_worktree(worktree.repository, tmp_path)


def test_required_filter_that_is_not_installed_does_not_fail_the_checkout(
    user: UserRepository, path: Path, locks: Path
) -> None:
    user.commit("pointer", {".gitattributes": "*.bin filter=lfs\n", "x.bin": "version https://git-lfs\n"})
    user.git("config", "filter.lfs.smudge", "git-lfs-that-is-missing")
    user.git("config", "filter.lfs.required", "true")
    repository = open_repository(user.path)
    ensure_worktree(repository, path, BRANCH, repository.head_commit, locks=locks)
    assert (path / "x.bin").read_text() == "version https://git-lfs\n"


def test_branch_the_user_has_checked_out_can_still_be_worked_on(
    user: UserRepository, repository: Repository, path: Path, locks: Path
) -> None:
    user.git("checkout", "--quiet", "-b", BRANCH)
    worktree = ensure_worktree(repository, path, BRANCH, repository.head_commit, locks=locks)
    assert worktree.branch == BRANCH
