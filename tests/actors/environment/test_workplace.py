"""The worktree at the checkout's path: git, mounts, mount points, and what stays out of reach."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from actors.environment.project import Environment
from tests.actors.environment.conftest import Project, fingerprint
from tests.actors.sandbox.conftest import git


@pytest.fixture
def shop(project: Project) -> Project:
    project.write({"a.txt": "one\n", ".gitignore": "node_modules/\n.env\ntarget/\n*_version.py\n"})
    project.write({"packages/web/package.json": "{}\n"})
    project.commit()
    project.write(
        {"node_modules/tool/index.js": "tool\n", "node_modules/.cache/x": "x\n", ".env": "SECRET=1\n"}
    )
    project.write(
        {"packages/web/node_modules/tool/index.js": "tool\n", "node_modules/.npmrc": "_authToken=abc\n"}
    )
    project.write({"target/debug/lib": "built\n", "shop_version.py": "1\n", "notes.txt": "mine\n"})
    project.write({"_version.py": "version = 1\n"})
    return project


def test_git_reads_and_cannot_write(shop: Project) -> None:
    (shop.worktree / "a.txt").write_text("two\n")
    seen = shop.run(
        "git status --short --branch && git log --format=%s && git diff && git rev-parse --show-toplevel"
    )
    assert seen.ok, seen.output
    assert "## t1" in seen.output
    assert " M a.txt" in seen.output
    assert "+two" in seen.output
    assert seen.output.split()[-1] == str(shop.checkout)
    refused = shop.run("git add a.txt || git commit -am x; echo x > .git; rm -f .git")
    assert "Read-only file system" in refused.output
    assert git(shop.worktree, "log", "--format=%s").split() == ["first"]


def test_checkout_is_out_of_reach(shop: Project) -> None:
    before = fingerprint(shop.checkout)
    seen = shop.run("pwd; ls -a; cat .env notes.txt")
    assert seen.output.splitlines()[0] == str(shop.checkout)
    assert "SECRET" not in seen.output
    assert "mine" not in seen.output
    changed = shop.run("echo new > new.txt; echo > a.txt; rm -rf node_modules packages")
    assert not changed.ok
    assert fingerprint(shop.checkout) == before
    assert (shop.worktree / "new.txt").exists()


def test_dependencies_are_read_only_with_writable_caches_and_no_credentials(shop: Project) -> None:
    seen = shop.run("cat node_modules/tool/index.js packages/web/node_modules/tool/index.js")
    assert seen.output.split() == ["tool", "tool"]
    assert shop.run("echo y > node_modules/.cache/y && cat node_modules/.cache/y").output.strip() == "y"
    assert "Read-only" in shop.run("echo y > node_modules/tool/y").output
    assert "abc" not in shop.run("cat node_modules/.npmrc").output
    assert (
        shop.run("git status --short").output.strip() == "(no output)"
        or git(shop.worktree, "status", "--short") == ""
    )


def test_mount_point_is_not_made_through_a_symbolic_link(shop: Project, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    web = shop.worktree / "packages" / "web"
    (web / "package.json").unlink()
    web.rmdir()
    web.symlink_to(outside)
    assert shop.run("true").ok
    assert list(outside.iterdir()) == []
    web.unlink()
    web.symlink_to(f"/oldroot{outside}")
    assert shop.run("true").ok
    assert list(outside.iterdir()) == []


def test_folder_that_the_branch_deleted_is_not_made_again(shop: Project) -> None:
    git(shop.worktree, "rm", "-rq", "packages")
    assert shop.run("true").ok
    assert not (shop.worktree / "packages").exists()


def test_build_folders_and_generated_files_are_copied_if_git_ignores_them(shop: Project) -> None:
    shop.run("echo changed > target/debug/lib")
    assert (shop.worktree / "target/debug/lib").read_text() == "changed\n"
    assert (shop.checkout / "target/debug/lib").read_text() == "built\n"
    assert (shop.worktree / "_version.py").read_text() == "version = 1\n"
    assert git(shop.worktree, "status", "--short") == ""
    # A build folder that git does not ignore in this worktree would become part of the next commit.
    (shop.worktree / ".gitignore").write_text("node_modules/\n")
    (shop.worktree / "target/debug/lib").unlink()
    (shop.worktree / "target/debug").rmdir()
    (shop.worktree / "target").rmdir()
    shop.environment().warm(shop.worktree)
    assert not (shop.worktree / "target").exists()


def test_environment_survives_json(shop: Project) -> None:
    environment = shop.environment()
    assert Environment.from_json(json.loads(json.dumps(environment.as_json()))) == environment


def test_checkout_that_is_itself_a_linked_worktree(project: Project, tmp_path: Path) -> None:
    project.write({"a.txt": "one\n"})
    git(project.checkout, "init", "-q", "-b", "main")
    git(project.checkout, "add", "-A")
    git(project.checkout, "commit", "-qm", "first")
    moved = project.checkout.rename(tmp_path / "main")
    git(moved, "worktree", "add", "-q", "-b", "mine", str(project.checkout))
    git(moved, "worktree", "add", "-q", "-b", "t1", str(project.worktree))
    seen = project.run("git status --short --branch; git log --format=%s; cat a.txt")
    assert seen.output.split() == ["##", "t1", "first", "one"]


@pytest.mark.parametrize("name", ["with space", "ä ö", "it's"])
def test_paths_with_unusual_characters(tmp_path: Path, name: str, project: Project) -> None:
    odd = Project(tmp_path / name)
    odd.checkout.mkdir(parents=True)
    odd.write({"a.txt": "one\n"})
    odd.commit()
    odd.write({"node_modules/x/y": "z\n"})
    seen = odd.run("cat a.txt node_modules/x/y; git log --format=%s")
    assert seen.output.split() == ["one", "z", "first"]


def test_credentials_of_toolchains_are_hidden(project: Project, tmp_path: Path) -> None:
    home = tmp_path / "home"
    files = {
        ".cargo/credentials.toml": "token = 'abc'\n",
        ".cargo/registry/cache/x": "x\n",
        ".cargo/config.toml": "[build]\njobs = 1\n",
        ".npmrc": "//registry/:_authToken=abc\n",
        ".m2/settings.xml": "<password>abc</password>\n",
        ".m2/repository/x": "x\n",
        ".netrc": "abc\n",
        ".virtualenvs/v/pyvenv.cfg": "home = /usr/bin\n",
        ".virtualenvs/v/pip.conf": "index-url = https://u:abc@localhost/\n",
        ".virtualenvs/v/bin/python": "#!/bin/sh\n",
    }
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    venv = home / ".virtualenvs/v"
    project.write({"a.txt": "one\n"})
    project.commit()
    project.environ = {
        "HOME": str(home),
        "PATH": f"{venv}/bin:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(venv),
    }
    names = " ".join(str(home / name) for name in files)
    seen = project.run(f"cat {names}; echo $CARGO_HOME")
    assert "abc" not in seen.output
    assert "jobs = 1" in seen.output
    assert str(home / ".cargo") in seen.output
    assert project.run(f"cat {home}/.m2/repository/x {home}/.cargo/registry/cache/x").output.split() == [
        "x",
        "x",
    ]
