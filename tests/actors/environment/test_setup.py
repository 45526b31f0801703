"""Set-up: which commands a repository needs, and running them once for what they install."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from actors.environment.project import Environment, find_environment, project_sandbox
from actors.environment.python_imports import own_programs
from actors.environment.setup.result import SetupFailed, SetupResult
from actors.environment.setup.run import SetupRunner, prepare_base
from actors.environment.setup.units import SetupUnit, find_units
from actors.environment.worktrees import WorktreeSandboxes
from actors.git.repository import open_repository
from actors.sandbox.policy import SandboxPolicy
from actors.sandbox.run import run_command
from tests.actors.environment.conftest import Project, fingerprint
from tests.actors.sandbox.conftest import git


def units(folder: Path, files: dict[str, str], checks: tuple[str, ...] = ()) -> tuple[SetupUnit, ...]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return find_units(folder, sorted(files), checks=checks)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"uv.lock": "", "pyproject.toml": "[project]\nname='a'\ndependencies=['b']\n"}, "uv sync --locked"),
        (
            {
                "uv.lock": "",
                "pyproject.toml": "[project]\ndependencies=['b']\n[dependency-groups]\ntest=['c']\n",
            },
            "uv sync --locked --group test",
        ),
        (
            {"poetry.lock": "", "pyproject.toml": "[tool.poetry.dependencies]\nb='1'\n"},
            "POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-interaction --all-extras",
        ),
        (
            {"requirements.txt": "b\n", "requirements-dev.txt": "c\n", "requirements-docs.txt": "d\n"},
            "python3 -m venv .venv && .venv/bin/python -m pip install -q -r requirements-dev.txt -r requirements.txt",
        ),
        (
            {
                "pyproject.toml": "[project]\nname='a'\ndependencies=['b']\n"
                "[project.optional-dependencies]\ntest=['c']\ndocs=['d']\n"
            },
            "python3 -m venv .venv && .venv/bin/python -m pip install -q -e '.[test]'",
        ),
        ({"package.json": '{"dependencies":{"a":"1"}}', "package-lock.json": "{}"}, "npm ci"),
        (
            {"package.json": '{"dependencies":{"a":"1"}}', "pnpm-lock.yaml": ""},
            "pnpm install --frozen-lockfile",
        ),
        ({"package.json": '{"dependencies":{"a":"1"}}', "yarn.lock": ""}, "yarn install --frozen-lockfile"),
        ({"package.json": '{"dependencies":{"a":"1"}}', "bun.lock": ""}, "bun install --frozen-lockfile"),
        ({"Cargo.toml": "", "Cargo.lock": ""}, "cargo fetch --locked"),
        ({"go.mod": "module a\n", "go.sum": ""}, "go mod download"),
        ({"Gemfile": ""}, "bundle config set --local path vendor/bundle && bundle install"),
        ({"composer.json": "{}"}, "composer install --no-interaction --no-progress"),
        ({"web/package.json": '{"dependencies":{"a":"1"}}', "web/package-lock.json": ""}, "cd web && npm ci"),
    ],
)
def test_command_for_the_files_of_a_repository(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    assert [unit.command for unit in units(tmp_path, files)] == [expected]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"pyproject.toml": "[tool.ruff]\nline-length = 100\n"},
        {"pyproject.toml": "[project]\nname='a'\ndependencies=[]\n", "a.py": ""},
        {"package.json": '{"scripts":{"test":"node --test"}}'},
        {
            "tests/fixtures/package.json": '{"dependencies":{"a":"1"}}',
            "tests/fixtures/package-lock.json": "{}",
        },
    ],
)
def test_repository_without_dependencies_needs_no_setup(tmp_path: Path, files: dict[str, str]) -> None:
    assert units(tmp_path, files) == ()


def test_members_of_a_workspace_are_installed_with_the_top_folder(tmp_path: Path) -> None:
    files = {
        "package.json": '{"workspaces":["packages/*"]}',
        "package-lock.json": "{}",
        "packages/a/package.json": '{"dependencies":{"b":"1"}}',
        "Cargo.toml": "[workspace]\n",
        "Cargo.lock": "",
        "crates/a/Cargo.toml": "",
    }
    assert [(unit.tool, unit.folder) for unit in units(tmp_path, files)] == [("npm", ""), ("cargo", "")]


def test_monorepo_has_one_unit_for_each_folder(tmp_path: Path) -> None:
    files = {
        "api/requirements.txt": "b\n",
        "worker/requirements.txt": "c\n",
        "web/package.json": '{"dependencies":{"a":"1"}}',
        "web/package-lock.json": "{}",
    }
    found = [(unit.name, unit.makes) for unit in units(tmp_path, files)]
    assert found == [
        ("pip in api", ("api/.venv",)),
        ("npm in web", ("web/node_modules",)),
        ("pip in worker", ("worker/.venv",)),
    ]


def test_key_changes_with_dependencies_and_not_with_scripts(tmp_path: Path) -> None:
    lock = {"package-lock.json": "{}"}
    first = units(tmp_path, {"package.json": '{"dependencies":{"a":"1"}}', **lock})[0].key
    script = units(tmp_path, {"package.json": '{"dependencies":{"a":"1"},"scripts":{"x":"y"}}', **lock})[
        0
    ].key
    newer = units(tmp_path, {"package.json": '{"dependencies":{"a":"2"}}', **lock})[0].key
    locked = units(tmp_path, {"package.json": '{"dependencies":{"a":"1"}}', "package-lock.json": "{ }"})[
        0
    ].key
    assert first == script
    assert len({first, newer, locked}) == 3


def test_links_and_devices_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "package.json").symlink_to("/dev/zero")
    (tmp_path / "pyproject.toml").symlink_to("/etc/hostname")
    assert find_units(tmp_path, ["package.json", "pyproject.toml"]) == ()


SETUP = (
    "mkdir -p node_modules/tool .venv/bin; echo installed > node_modules/tool/x",
    "cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' ' > node_modules/network; echo built > made_version.py",
)


def prepared(
    project: Project, *, commands: tuple[str, ...] = (), checks: tuple[str, ...] = (), network: bool = True
) -> tuple[Environment, list[SetupResult]]:
    folder = project.folder / "crew" / "environments" / "shop"
    environment = find_environment(
        project.environ, project.checkout, folder, setup_commands=commands, checks=checks
    )
    repository = open_repository(project.checkout)
    runner = SetupRunner(
        environment,
        SandboxPolicy(),
        repository,
        repository.head_commit,
        project.folder / "crew" / "locks",
        allow_network=network,
        timeout_s=600,
    )
    return prepare_base(runner)


def use(project: Project, environment: Environment) -> None:
    project.sandbox = project_sandbox(environment, SandboxPolicy(), project.worktree, user="engineer-1")


def test_setup_of_the_spec_runs_once_with_the_network_and_outside_the_checkout(project: Project) -> None:
    project.write({"a.txt": "one\n", ".gitignore": "node_modules/\n*_version.py\n"})
    project.commit()
    before = fingerprint(project.checkout)
    environment, results = prepared(project, commands=SETUP)
    assert [result.ok for result in results] == [True], results[0].output
    use(project, environment)
    seen = project.run(
        "cat node_modules/tool/x node_modules/network; ls; cut -d: -f1 /proc/net/dev | tail -n +3"
    )
    assert seen.output.split()[0] == "installed"
    assert len(seen.output.split("a.txt")[0].split()) > 2  # set-up had more than the loopback device
    assert seen.output.split("node_modules")[1].split() == ["lo"]
    assert "Read-only" in project.run("touch node_modules/y").output
    assert fingerprint(project.checkout) == before
    again, results = prepared(project, commands=SETUP)
    assert again == environment
    assert git(project.checkout, "worktree", "list").count("\n") == 2


def test_setup_has_no_network_if_the_settings_say_never(project: Project) -> None:
    project.write({"a.txt": "one\n", ".gitignore": "node_modules/\n"})
    project.commit()
    environment, _ = prepared(project, commands=SETUP[:1] + SETUP[1:], network=False)
    use(project, environment)
    assert project.run("cat node_modules/network").output.split() == ["lo"]


def test_failed_setup_is_reported_and_not_kept(project: Project) -> None:
    project.write({"a.txt": "one\n"})
    project.commit()
    _, results = prepared(project, commands=("echo cannot >&2; exit 3",))
    assert (results[0].exit_code, results[0].output.strip()) == (3, "cannot")
    _, results = prepared(project, commands=("echo cannot >&2; exit 3",))
    assert not results[0].ok


def test_nothing_is_installed_where_everything_is_there(project: Project) -> None:
    project.write({"requirements.txt": "pip\n", ".gitignore": ".venv/\n"})
    project.commit()
    project.install(sys.executable, "-m", "venv", ".venv")
    _, results = prepared(project)
    assert [(result.needed, result.ok) for result in results] == [(False, True)]


def sandboxes(project: Project, environment: Environment) -> WorktreeSandboxes:
    return WorktreeSandboxes(
        environment, SandboxPolicy(), project.folder / "crew" / "locks", "gate", timeout_s=600
    )


def test_task_that_changes_a_manifest_gets_its_own_setup(project: Project) -> None:
    """With set-up commands of the spec, so that no registry is needed."""
    install = ("mkdir -p node_modules; cp package.json node_modules/installed",)
    project.write({"package.json": '{"version": "1"}', ".gitignore": "node_modules/\n"})
    project.commit()
    environment, _ = prepared(project, commands=install)
    found = sandboxes(project, environment)
    sandbox = found.sandbox(project.worktree)
    assert '"1"' in run_command(sandbox, "cat node_modules/installed", worktree=project.worktree).output
    (project.worktree / "package.json").write_text('{"version": "2"}')
    changed = found.sandbox(project.worktree)
    assert '"2"' in run_command(changed, "cat node_modules/installed", worktree=project.worktree).output
    (project.worktree / "package.json").write_text('{"version": "1"}')
    assert found.sandbox(project.worktree) == sandbox


def test_change_of_dependencies_that_cannot_be_installed(project: Project) -> None:
    project.write({"package.json": "{}", ".gitignore": "node_modules/\n"})
    project.commit()
    environment, _ = prepared(project, commands=("! grep -q broken package.json",))
    found = sandboxes(project, environment)
    found.sandbox(project.worktree)
    (project.worktree / "package.json").write_text('{"broken": 1}')
    with pytest.raises(SetupFailed) as failure:
        found.sandbox(project.worktree)
    assert failure.value.result.exit_code == 1


def test_check_in_a_folder_uses_the_virtual_environment_of_that_folder(project: Project) -> None:
    install = "for d in api web; do ( cd $d && python3 -m venv --without-pip .venv ) || exit; done"
    project.write({"api/a.py": "", "web/b.py": "", ".gitignore": ".venv/\n"})
    project.commit()
    environment, _ = prepared(project, commands=(install,))
    use(project, environment)
    assert project.sandbox is not None
    for folder in ("api", "web"):
        command = f"cd {folder} && python3 -c 'import sys; print(sys.prefix)'"
        answer = project.run(own_programs(project.sandbox, command) + command)
        assert answer.output.strip() == f"{project.checkout}/{folder}/.venv"


@pytest.mark.slow
def test_fresh_checkout_of_a_package_is_installed_from_the_registry(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": "[build-system]\nrequires=['setuptools']\nbuild-backend='setuptools.build_meta'\n"
            "[project]\nname='shop'\nversion='1'\ndependencies=['tinydb']\n",
            "src/shop/__init__.py": "import tinydb\n\ndef price():\n    return 3\n",
            "tests/test_shop.py": "import shop\n\ndef test_price():\n    assert shop.price() == 3\n",
            ".gitignore": ".venv/\n*.egg-info/\n__pycache__/\n.pytest_cache/\n",
        }
    )
    project.commit()
    environment, results = prepared(project, checks=("pytest -q",))
    if not results[0].ok:
        pytest.skip(f"NOT TESTED: pip cannot install here:\n{results[0].output}")
    use(project, environment)
    assert project.run("pytest -q").ok
    project.edit("src/shop/__init__.py", "return 3", "return 4")
    assert project.run("pytest -q").exit_code == 1
    assert not (project.checkout / ".venv").exists()
