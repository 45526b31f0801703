"""Sandboxes that cannot show a worktree at the checkout's path: Landlock, and none at all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from actors.environment.folders import find_manifests
from actors.environment.project import Environment, find_environment, project_sandbox
from actors.environment.proof import resolve_outside
from actors.environment.setup.run import SetupRunner, prepare_base
from actors.git.command import Git
from actors.git.repository import open_repository
from actors.sandbox.choose import landlock_problem
from actors.sandbox.policy import SandboxPolicy
from actors.sandbox.run import run_command
from tests.actors.environment.conftest import Project, fingerprint
from tests.actors.sandbox.conftest import git

# What `pip install -e .` makes, without a registry.
INSTALL = (
    "python3 -m venv --without-pip .venv",
    'for place in .venv/lib/python3*/site-packages; do echo "$PWD/src" > $place/shop.pth; done',
)


@pytest.fixture(params=["landlock", "unsafe"])
def mode(request: pytest.FixtureRequest) -> str:
    problem = landlock_problem(SandboxPolicy()) if request.param == "landlock" else None
    if problem is not None:
        pytest.skip(f"NOT TESTED: Landlock: {problem}")
    return str(request.param)


def base(mode: str) -> SandboxPolicy:
    return SandboxPolicy(mode="landlock") if mode == "landlock" else SandboxPolicy()


def prepared(project: Project, mode: str, commands: tuple[str, ...] = ()) -> Environment:
    folder = project.folder / "crew" / "environments" / "shop"
    environment = find_environment(project.environ, project.checkout, folder, setup_commands=commands)
    repository = open_repository(project.checkout)
    runner = SetupRunner(
        environment,
        base(mode),
        repository,
        repository.head_commit,
        project.folder / "crew" / "locks",
        unsafe=mode == "unsafe",
        timeout_s=120,
    )
    prepared, results = prepare_base(runner)
    assert all(result.ok for result in results), results
    return prepared


def test_environment_of_the_crew_leads_into_the_worktree_and_not_into_the_checkout(
    project: Project, mode: str
) -> None:
    project.write(
        {
            "pyproject.toml": "[project]\nname='shop'\nversion='1'\n",
            "src/shop/__init__.py": "def price():\n    return 3\n",
            ".gitignore": ".venv/\n__pycache__/\n",
        }
    )
    project.commit()
    project.install(sys.executable, "-m", "venv", "--without-pip", ".venv")
    site = next((project.checkout / ".venv/lib").glob("python3*/site-packages"))
    (site / "shop.pth").write_text(f"{project.checkout}/src\n")
    before = fingerprint(project.checkout)
    environment = prepared(project, mode, INSTALL)
    sandbox = project_sandbox(environment, base(mode), project.worktree, user="gate", unsafe=mode == "unsafe")
    asked = "python3 -c 'import shop, sys; print(shop.__file__, sys.prefix); sys.exit(shop.price() != 3)'"
    answer = run_command(sandbox, asked, worktree=project.worktree)
    module, prefix = answer.output.split()
    assert answer.ok
    assert module == f"{project.worktree}/src/shop/__init__.py"
    assert Path(prefix).is_relative_to(environment.folder)
    manifests = find_manifests(Git(project.worktree))
    assert resolve_outside(sandbox, project.worktree, manifests, "pytest -q") == ()
    project.edit("src/shop/__init__.py", "return 3", "return 4")
    assert run_command(sandbox, asked, worktree=project.worktree).exit_code == 1
    assert fingerprint(project.checkout) == before
    assert git(project.checkout, "worktree", "list").count("\n") == 2


def test_node_modules_are_copied_and_workspace_links_lead_into_the_worktree(
    project: Project, mode: str
) -> None:
    project.write(
        {
            "package.json": '{"name": "top", "workspaces": ["packages/*"]}',
            "packages/a/package.json": '{"name": "a"}',
            "packages/a/index.js": "3\n",
            "packages/b/package.json": '{"name": "b"}',
            ".gitignore": "node_modules/\n",
        }
    )
    project.commit()
    modules = project.checkout / "node_modules"
    modules.mkdir()
    (modules / "a").symlink_to("../packages/a")
    project.write({"node_modules/ms/index.js": "ms\n"})
    before = fingerprint(project.checkout)
    environment = find_environment(project.environ, project.checkout, project.folder / "crew" / "e")
    sandbox = project_sandbox(environment, base(mode), project.worktree, user="gate", unsafe=mode == "unsafe")
    (project.worktree / "packages/a/index.js").write_text("4\n")
    answer = run_command(
        sandbox, "cat node_modules/a/index.js node_modules/ms/index.js", worktree=project.worktree
    )
    assert answer.output.split() == ["4", "ms"]
    assert fingerprint(project.checkout) == before
    assert git(project.worktree, "status", "--short").split() == ["M", "packages/a/index.js"]
