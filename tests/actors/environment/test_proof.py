"""The proof that a project's own packages resolve inside the worktree, in every sandbox mode."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from actors.environment.folders import find_manifests
from actors.environment.project import project_sandbox
from actors.environment.proof import Resolved, explain, resolve_outside
from actors.git.command import Git
from actors.sandbox.policy import SandboxPolicy
from tests.actors.environment.conftest import Project

PYPROJECT = "[project]\nname = 'shop'\nversion = '1'\n"


def ask(project: Project, command: str, *, unsafe: bool = False) -> tuple[Resolved, ...]:
    sandbox = project_sandbox(
        project.environment(), SandboxPolicy(), project.worktree, user="gate", unsafe=unsafe
    )
    return resolve_outside(sandbox, project.worktree, find_manifests(Git(project.worktree)), command)


def python_project(project: Project, layout: str = "src") -> Path:
    """A package and a virtual environment; returns the environment's folder of installed packages."""
    package = "src/shop" if layout == "src" else "shop"
    project.write(
        {
            "pyproject.toml": PYPROJECT,
            f"{package}/__init__.py": "",
            "tests/test_shop.py": "",
            ".gitignore": ".venv/\nnode_modules/\n",
        }
    )
    project.commit()
    project.install(sys.executable, "-m", "venv", "--without-pip", ".venv")
    return next((project.checkout / ".venv/lib").glob("python3*/site-packages"))


def test_editable_install_resolves_inside(project: Project) -> None:
    site = python_project(project)
    (site / "shop.pth").write_text(f"{project.checkout}/src\n")
    assert ask(project, "pytest -q") == ()
    assert ask(project, "python3 -m pytest") == ()


@pytest.mark.parametrize("command", ["pytest -q", "python3 -m pytest", ".venv/bin/pytest", "make test"])
def test_installed_copy_is_outside(project: Project, command: str) -> None:
    site = python_project(project)
    (site / "shop").mkdir()
    (site / "shop/__init__.py").write_text("")
    found = ask(project, command)
    assert [one.package for one in found] == ["shop"]
    assert found[0].place == str(site / "shop/__init__.py")
    assert str(site) in explain(found)


def test_installed_copy_is_not_used_where_the_runner_puts_the_sources_first(project: Project) -> None:
    site = python_project(project, layout="flat")
    (site / "shop").mkdir()
    (site / "shop/__init__.py").write_text("")
    assert len(ask(project, "pytest")) == 1
    assert ask(project, "python3 -m unittest") == ()
    assert ask(project, "PYTHONPATH=. pytest") == ()
    (project.worktree / "pyproject.toml").write_text(
        f"{PYPROJECT}[tool.pytest.ini_options]\npythonpath = ['.']\n"
    )
    assert ask(project, "pytest") == ()


def test_package_that_is_not_installed_is_left_to_the_check(project: Project) -> None:
    python_project(project)
    assert ask(project, "pytest") == ()


def test_link_into_the_users_checkout_is_outside_without_a_sandbox(project: Project) -> None:
    """The trap of `--unsafe`: the interpreter on PATH has an editable install of the checkout."""
    python_project(project)
    place = project.folder / "elsewhere"
    project.install(sys.executable, "-m", "venv", "--without-pip", str(place))
    site = next((place / "lib").glob("python3*/site-packages"))
    (site / "shop.pth").write_text(f"{project.checkout}/src\n")
    project.environ["PATH"] = f"{place}/bin:{project.environ['PATH']}"
    project.environ["VIRTUAL_ENV"] = str(place)
    # The worktree's sources come first there, unless the check's Python ignores PYTHONPATH.
    assert ask(project, "python3 -m pytest", unsafe=True) == ()
    found = ask(project, "python3 -E -m pytest", unsafe=True)
    assert found == (Resolved("shop", f"{project.checkout}/src/shop/__init__.py"),)
    # The same environment in the sandbox leads into the worktree.
    assert ask(project, "python3 -m pytest") == ()


def test_checkouts_virtual_environment_is_not_borrowed_without_a_sandbox(project: Project) -> None:
    site = python_project(project)
    (site / "shop.pth").write_text(f"{project.checkout}/src\n")
    sandbox = project_sandbox(
        project.environment(), SandboxPolicy(), project.worktree, user="gate", unsafe=True
    )
    assert str(project.checkout) not in dict(sandbox.environment)["PATH"]


def test_workspace_links_of_node_resolve_inside_and_copies_do_not(project: Project) -> None:
    project.write(
        {
            "package.json": '{"name": "top", "workspaces": ["packages/*"]}',
            "packages/a/package.json": '{"name": "@shop/a"}',
            "packages/b/package.json": '{"name": "b"}',
            ".gitignore": "node_modules/\n",
        }
    )
    project.commit()
    modules = project.checkout / "node_modules"
    (modules / "@shop").mkdir(parents=True)
    (modules / "@shop/a").symlink_to("../../packages/a")
    (modules / "b").symlink_to("../packages/b")
    assert ask(project, "npm test") == ()
    (modules / "b").unlink()
    (modules / "b").mkdir()
    assert ask(project, "npm test") == (Resolved("b", f"{modules}/b"),)
    (modules / "@shop/a").unlink()
    (modules / "@shop/a").symlink_to("/usr/lib")
    assert {one.package for one in ask(project, "npm test")} == {"@shop/a", "b"}
