"""The gate's checks in a project's environment: what they import, and what a changed dependency does."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

from actors.environment.project import Environment
from actors.gate.checks import judge
from actors.gate.runner import SandboxedChecks
from actors.home import Home
from actors.settings import Config
from tests.actors.environment.conftest import Project, project

__all__ = ["project"]


def runner(shop: Project, environment: Environment | None) -> SandboxedChecks:
    home = Home(shop.folder / "crew")
    home.make()
    return SandboxedChecks(Config(), home, threading.Event(), lambda: environment)


def packaged(shop: Project) -> None:
    shop.write(
        {
            "pyproject.toml": "[project]\nname='shop'\nversion='1'\n",
            "src/shop/__init__.py": "def price():\n    return 3\n",
            "package.json": "{}",
            ".gitignore": ".venv/\nnode_modules/\n",
        }
    )
    shop.commit()
    shop.install(sys.executable, "-m", "venv", "--without-pip", ".venv")


CHECK = "python3 -c 'import shop; assert shop.price() == 3'"


def test_check_of_an_editable_install_sees_a_broken_worktree(project: Project) -> None:
    packaged(project)
    site = next((project.checkout / ".venv/lib").glob("python3*/site-packages"))
    (site / "shop.pth").write_text(f"{project.checkout}/src\n")
    run = runner(project, project.environment())
    assert judge(CHECK, run(CHECK, project.worktree, 60)).outcome == "passed"
    project.edit("src/shop/__init__.py", "return 3", "return 4")
    assert judge(CHECK, run(CHECK, project.worktree, 60)).outcome == "failed"


def test_check_that_would_import_an_installed_copy_does_not_run(project: Project) -> None:
    packaged(project)
    site = next((project.checkout / ".venv/lib").glob("python3*/site-packages"))
    (site / "shop").mkdir()
    (site / "shop/__init__.py").write_text("def price():\n    return 3\n")
    result = judge(CHECK, runner(project, project.environment())(CHECK, project.worktree, 60))
    assert result.outcome == "did_not_run"
    assert str(site) in result.output


def test_changed_dependency_that_cannot_be_installed_fails_the_check(project: Project) -> None:
    packaged(project)
    environment = replace(project.environment(), setup_commands=("echo no such package; exit 7",), units=())
    result = judge("true", runner(project, environment)("true", project.worktree, 60))
    assert (result.outcome, result.exit_code) == ("failed", 7)
    assert "no such package" in result.output
