"""A commit contains everything that an agent made, and runs nothing that an agent made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actors.git import commits
from actors.git.checkouts import ensure_worktree
from actors.git.commits import commit_all, uncommitted_files
from actors.git.repository import Repository, open_repository
from actors.git.worktree import Worktree
from tests.actors.git.user_repository import UserRepository, write

BRANCH = "nightcrew/demo/t1"


@pytest.fixture
def worktree(repository: Repository, tmp_path: Path, locks: Path) -> Worktree:
    path = tmp_path / "wörk trees" / "t1"
    return ensure_worktree(repository, path, BRANCH, repository.head_commit, locks=locks)


def tree(user: UserRepository) -> set[str]:
    return set(filter(None, user.git("ls-tree", "-r", "-z", "--name-only", BRANCH).split("\0")))


def test_unchanged_worktree_makes_no_commit(worktree: Worktree, locks: Path, user: UserRepository) -> None:
    assert commit_all(worktree, "nothing", locks=locks) is None
    assert user.git("rev-parse", BRANCH) == worktree.repository.head_commit


def test_commit_holds_new_changed_and_deleted_files_under_any_name(
    worktree: Worktree, locks: Path, user: UserRepository
) -> None:
    write(
        worktree.path, {"a.txt": "changed\n", "neue\nZeile ü.txt": "x", "-rf.txt": "x", "tief/er/c.txt": "c"}
    )
    (worktree.path / "lib" / "b.txt").unlink()
    (worktree.path / "link").symlink_to("/etc/passwd")
    sha = commit_all(worktree, "Grüße", locks=locks)
    assert sha == user.git("rev-parse", BRANCH)
    assert tree(user) == {"a.txt", "neue\nZeile ü.txt", "-rf.txt", "tief/er/c.txt", "link"}
    assert user.git("log", "-1", "--format=%an|%cn|%s", BRANCH) == "Nightcrew|Nightcrew|Grüße"
    assert user.show(BRANCH, "link") == "/etc/passwd"
    assert user.git("status", "--porcelain", cwd=worktree.path) == ""


def test_file_can_replace_a_folder_and_a_folder_a_file(
    worktree: Worktree, locks: Path, user: UserRepository
) -> None:
    (worktree.path / "lib" / "b.txt").unlink()
    (worktree.path / "lib").rmdir()
    (worktree.path / "a.txt").unlink()
    write(worktree.path, {"lib": "now a file", "a.txt/inner.txt": "now a folder"})
    commit_all(worktree, "swap", locks=locks)
    assert tree(user) == {"lib", "a.txt/inner.txt"}


def test_ignored_files_stay_out(worktree: Worktree, locks: Path, user: UserRepository) -> None:
    write(worktree.path, {".gitignore": "*.pyc\nbuild/\n", "x.pyc": "x", "build/out": "x"})
    commit_all(worktree, "ignore", locks=locks)
    assert tree(user) == {"a.txt", "lib/b.txt", ".gitignore"}


def test_executable_bit_is_kept(worktree: Worktree, locks: Path, user: UserRepository) -> None:
    write(worktree.path, {"run.sh": "#!/bin/sh\n"})
    (worktree.path / "run.sh").chmod(0o755)
    commit_all(worktree, "mode", locks=locks)
    assert user.git("ls-tree", BRANCH, "run.sh").startswith("100755 ")


def test_nested_repository_is_left_out_named_and_never_run(
    worktree: Worktree, locks: Path, user: UserRepository, tmp_path: Path
) -> None:
    nested = UserRepository(worktree.path / "sub", files={"inner.txt": "x"})
    evil = f"touch {tmp_path}/pwned; false"
    for key in ("core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "diff.external", "core.pager"):
        nested.git("config", key, evil)
    write(nested.path, {".gitattributes": "* filter=evil\n", "inner.txt": "changed"})
    write(worktree.path, {".gitmodules": '[submodule "sub"]\n\tpath = sub\n\turl = ./sub\n\tignore = none\n'})
    assert commit_all(worktree, "nested", locks=locks) is not None
    assert tree(user) == {"a.txt", "lib/b.txt", ".gitmodules"}
    assert uncommitted_files(worktree) == (
        "sub/: a git repository of its own; delete sub/.git to have its files committed",
    )
    open_repository(worktree.path)
    assert not (tmp_path / "pwned").exists()


def test_registered_submodule_of_the_user_is_neither_changed_nor_entered(
    user: UserRepository, tmp_path: Path, locks: Path
) -> None:
    other = UserRepository(tmp_path / "other", files={"x": "x"})
    user.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.path), "sub")
    user.git("commit", "--quiet", "--message", "submodule")
    repository = open_repository(user.path)
    worktree = ensure_worktree(repository, tmp_path / "w", BRANCH, repository.head_commit, locks=locks)
    nested = UserRepository(worktree.path / "sub" / "deep", files={"x": "y"})
    nested.path.joinpath(".git").rename(worktree.path / "sub" / ".git")
    write(worktree.path, {"a.txt": "changed\n"})
    commit_all(worktree, "work", locks=locks)
    assert user.git("diff", "--name-only", "main", BRANCH) == "a.txt"


def test_filter_from_the_user_s_configuration_does_not_run_a_program_of_the_agent(
    user: UserRepository, tmp_path: Path, locks: Path
) -> None:
    user.commit("attributes", {".gitattributes": "*.nb filter=strip\n"})
    user.git("config", "filter.strip.clean", "./strip.sh")
    repository = open_repository(user.path)
    worktree = ensure_worktree(repository, tmp_path / "w", BRANCH, repository.head_commit, locks=locks)
    write(worktree.path, {"strip.sh": f"#!/bin/sh\ntouch {tmp_path}/pwned\n", "x.nb": "kept\n"})
    (worktree.path / "strip.sh").chmod(0o755)
    commit_all(worktree, "work", locks=locks)
    assert user.show(BRANCH, "x.nb") == "kept"
    assert not (tmp_path / "pwned").exists()


def test_huge_and_misnamed_files_are_left_out_and_named(
    worktree: Worktree, locks: Path, user: UserRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "MAX_FILE_BYTES", 1000)
    write(worktree.path, {"core": "x" * 2000, "git~1": "x", "back\\slash": "x", "fine": "x"})
    commit_all(worktree, "work", locks=locks)
    assert tree(user) == {"a.txt", "lib/b.txt", "fine"}
    assert [text.split(":")[0] for text in uncommitted_files(worktree)] == ["back\\slash", "core", "git~1"]


def test_nothing_of_the_user_s_changes_byte_for_byte(
    user: UserRepository, tmp_path: Path, locks: Path
) -> None:
    user.write({"a.txt": "stashed\n"})
    user.git("stash")
    user.git("tag", "v1")
    user.write({"a.txt": "staged\n"})
    user.git("add", "a.txt")
    user.write({"a.txt": "dirty\n", "untracked ü.txt": "x"})
    before = user.belongings()
    repository = open_repository(user.path)
    worktree = ensure_worktree(repository, tmp_path / "w", BRANCH, repository.head_commit, locks=locks)
    write(worktree.path, {"a.txt": "ours\n", "new.txt": "x"})
    assert commit_all(worktree, "work", locks=locks)
    assert user.belongings() == before


def test_many_worktrees_are_created_and_committed_to_concurrently(
    user: UserRepository, repository: Repository, tmp_path: Path, locks: Path
) -> None:
    def work(task: str) -> None:
        path, branch = tmp_path / "w" / task, f"nightcrew/demo/{task}"
        worktree = ensure_worktree(repository, path, branch, repository.head_commit, locks=locks)
        for number in range(5):
            write(path, {f"{task}-{number}.txt": "x"})
            assert commit_all(worktree, f"{task} {number}", locks=locks)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, [f"t{number}" for number in range(6)]))
    for number in range(6):
        assert user.git("rev-list", "--count", f"main..nightcrew/demo/t{number}") == "5"
    assert user.git("fsck", "--strict", "--no-dangling") == ""
