"""Python projects: virtual environments, editable installs, interpreters of version managers."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.actors.environment.conftest import Project, check_both_ways

PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "shop"
version = "0.1"
{more}
[tool.setuptools.packages.find]
where = ["src"]
"""
SHOP = "def price() -> int:\n    return 3\n"
TEST = """\
import unittest
import shop

class PriceTest(unittest.TestCase):
    def test_price(self):
        self.assertEqual(shop.price(), 3)
"""
IGNORED = ".venv/\nvenv/\n*.egg-info/\n__pycache__/\n.pytest_cache/\nbuild/\n"


def packaged(project: Project, more: str = "") -> None:
    project.write(
        {
            "pyproject.toml": PYPROJECT.format(more=more),
            "src/shop/__init__.py": SHOP,
            "tests/test_shop.py": TEST,
            ".gitignore": IGNORED,
        }
    )
    project.commit()
    project.install(sys.executable, "-m", "venv", ".venv")


def test_editable_install_in_a_virtual_environment_leads_into_the_worktree(project: Project) -> None:
    packaged(project)
    # Without a build backend from a registry: what `pip install -e .` leaves behind.
    site = next((project.checkout / ".venv/lib").glob("python3*/site-packages"))
    (site / "__editable__.shop-0.1.pth").write_text(f"{project.checkout}/src\n")
    check_both_ways(
        project, "python3 -m unittest discover -s tests", "src/shop/__init__.py", "return 3", "return 4"
    )
    where = project.run("python3 -c 'import shop, sys; print(shop.__file__, sys.prefix)'").output.split()
    assert where == [f"{project.checkout}/src/shop/__init__.py", f"{project.checkout}/.venv"]
    refused = project.run("touch .venv/x")
    assert "Read-only file system" in refused.output


@pytest.mark.slow
def test_pip_editable_install_with_a_runner_from_the_registry(project: Project) -> None:
    packaged(project)
    project.install(f"{project.checkout}/.venv/bin/pip", "install", "-q", "pytest", "-e", ".")
    check_both_ways(project, "pytest -q -p no:cacheprovider", "src/shop/__init__.py", "return 3", "return 4")
    # A program that names its interpreter by an absolute path.
    assert project.run(".venv/bin/pytest --version").ok


@pytest.mark.slow
def test_requirements_file_installed_in_a_virtual_environment(project: Project) -> None:
    project.write(
        {
            "requirements.txt": "pytest\niniconfig\n",
            "shop.py": SHOP,
            "test_shop.py": "import iniconfig, shop\n\ndef test_price():\n    assert shop.price() == 3\n",
            ".gitignore": IGNORED,
        }
    )
    project.commit()
    project.install(sys.executable, "-m", "venv", "venv")
    project.install(f"{project.checkout}/venv/bin/pip", "install", "-q", "-r", "requirements.txt")
    check_both_ways(project, "python -m pytest -q -p no:cacheprovider", "shop.py", "return 3", "return 4")


def test_active_virtual_environment_outside_the_checkout_is_used(project: Project, tmp_path: Path) -> None:
    project.write({"shop.py": SHOP})
    project.commit()
    place = tmp_path / "home" / ".virtualenvs" / "shop"
    project.install(sys.executable, "-m", "venv", "--without-pip", str(place))
    project.environ |= {"VIRTUAL_ENV": str(place), "PATH": f"{place}/bin:{project.environ['PATH']}"}
    answer = project.run("python3 -c 'import sys; print(sys.prefix)'; echo $VIRTUAL_ENV")
    assert answer.output.split() == [str(place), str(place)]


def test_interpreter_is_the_one_that_pyenv_chooses_in_the_checkout(project: Project) -> None:
    if shutil.which("pyenv") is None:
        pytest.skip("NOT TESTED: pyenv is not installed")
    versions = sorted(path.name for path in (Path.home() / ".pyenv/versions").glob("3.1*"))
    running = sys.version.split()[0]
    others = [version for version in versions if version != running]
    if not others:
        pytest.skip("NOT TESTED: pyenv has no second version")
    project.write({".python-version": f"{others[0]}\n"})
    project.commit()
    answer = project.run("python3 -c 'import sys; print(sys.version.split()[0])'")
    assert answer.output.strip() == others[0]


def test_own_virtual_environment_of_the_crew_is_never_used(project: Project) -> None:
    project.write({"shop.py": SHOP})
    project.commit()
    project.environ["PATH"] = f"{sys.prefix}/bin:{project.environ['PATH']}"
    project.environ["VIRTUAL_ENV"] = sys.prefix
    environment = project.environment()
    assert f"{sys.prefix}/bin" not in environment.toolchains.path
    assert "VIRTUAL_ENV" not in dict(environment.toolchains.variables)
    answer = project.run("python3 -c 'import sys; print(sys.prefix)'; ls -d " + sys.prefix)
    assert answer.output.splitlines()[0] != sys.prefix
    assert "No such file" in answer.output
