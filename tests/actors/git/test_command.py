"""git never waits for a person, never runs a hook, and reports errors with command and folder."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from actors.git.command import Git, driver_overrides, git_version
from actors.git.errors import GitError, GitMissingError, GitTimeoutError
from tests.actors.git.user_repository import UserRepository


def test_failed_command_is_reported_with_its_folder_and_gits_message(user: UserRepository) -> None:
    with pytest.raises(
        GitError, match=r"git rev-parse .*mein Repo äöü.*exit code 128: fatal: .*nowhere"
    ) as caught:
        Git(user.path).run("rev-parse", "nowhere")
    assert caught.value.git_exit_code == 128
    assert "nowhere" in caught.value.stderr


def test_missing_git_is_reported(user: UserRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(user.path))
    with pytest.raises(GitMissingError, match="not on PATH"):
        Git(user.path).run("status")


def test_missing_folder_is_not_reported_as_missing_git(user: UserRepository) -> None:
    with pytest.raises(GitError, match="no such folder") as caught:
        Git(user.path / "nowhere").run("status")
    assert not isinstance(caught.value, GitMissingError)


def test_hanging_git_is_killed_at_its_limit_with_all_its_children(user: UserRepository) -> None:
    user.git("config", "alias.hang", "!sleep 60")
    started = time.monotonic()
    with pytest.raises(GitTimeoutError, match=r"longer than 0\.3 s"):
        Git(user.path).run("hang", timeout_s=0.3)
    assert time.monotonic() - started < 20


def test_hooks_signing_and_editors_of_the_user_do_not_run(user: UserRepository) -> None:
    hook = user.path / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch hook-ran\nexit 1\n")
    hook.chmod(0o755)
    for key, value in (("commit.gpgSign", "true"), ("core.editor", "touch editor-ran; false")):
        user.git("config", key, value)
    Git(user.path).run("commit", "--allow-empty", "--message", "ours")
    assert user.git("log", "-1", "--format=%an <%ae> %s") == "Nightcrew <nightcrew@localhost> ours"
    assert not [path.name for path in user.path.iterdir() if path.name.endswith("-ran")]


def test_git_variables_of_the_caller_do_not_reach_git(
    user: UserRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert Git(user.path).line("symbolic-ref", "--short", "HEAD") == "main"


def test_names_with_newlines_quotes_and_umlauts_arrive_intact(user: UserRepository) -> None:
    names = {"neue\nZeile.txt", "äöü ß.txt", 'quote".txt', "tab\t.txt"}
    user.write(dict.fromkeys(names, "x"))
    assert set(Git(user.path).names("ls-files", "-z", "--others")) == names


def test_input_and_extra_environment_reach_git(user: UserRepository) -> None:
    git = Git(user.path)
    blob = git.run("hash-object", "-w", "--stdin", stdin="grüße\n").strip()
    assert git.run("cat-file", "blob", blob) == "grüße\n"
    date = {"GIT_COMMITTER_DATE": "1700000000 +0100"}
    assert "1700000000 +0100" in git.run("var", "GIT_COMMITTER_IDENT", environment=date)


def test_every_filter_and_merge_driver_of_the_configuration_is_disabled(user: UserRepository) -> None:
    user.git("config", "filter.note book.clean", "evil")
    user.git("config", "filter.a=b.required", "true")
    user.git("config", "merge.odd.driver", "evil %A")
    overrides = dict(driver_overrides(Git(user.path)))
    git = Git(user.path, config=tuple(overrides.items()))
    assert git.line("config", "filter.note book.clean") == ""
    assert git.line("config", "filter.a=b.required") == "false"
    assert git.line("config", "filter.lfs.process") == ""
    assert git.line("config", "merge.odd.driver").startswith("git merge-file")


def test_version_of_the_installed_git_is_read() -> None:
    assert git_version() >= (2, 38)
