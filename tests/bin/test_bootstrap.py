"""What the set-up decides: versions, install commands, whether an environment can be kept."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import tomllib
import venv
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "bin" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bootstrap"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "version"),
    {
        "git version 2.39.5 (Apple Git-154)\n": (2, 39),
        "tmux 3.3a\n": (3, 3),
        "tmux next-3.5\n": (3, 5),
        "bubblewrap 0.8.0\n": (0, 8),
        "?": None,
    }.items(),
)
def test_version_is_read_as_each_program_writes_it(
    bootstrap: ModuleType, text: str, version: tuple[int, int] | None
) -> None:
    assert bootstrap.parse_version(text) == version


def test_programs_that_are_optional_are_only_warned_of(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    git = shutil.which("git")
    assert git
    (tmp_path / "git").symlink_to(git)
    monkeypatch.setenv("PATH", str(tmp_path))
    bootstrap.check_programs()
    said = capfd.readouterr().err
    assert "tmux 3.2 or newer is missing" in said
    assert "the crew runs without windows" in said
    assert ("bubblewrap 0.4 or newer is missing" in said) == (sys.platform == "linux")


def test_install_command_is_the_one_of_the_manager_on_the_path(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for manager, command in {
        "pacman": "pacman -S git",
        "dnf": "dnf install git",
        "brew": "brew install git",
    }.items():
        (tmp_path / manager).write_text("#!/bin/sh\n")
        (tmp_path / manager).chmod(0o755)
        assert bootstrap.install_command(["git"]).removeprefix("sudo ") == command


def test_only_an_environment_made_here_that_runs_and_was_not_broken_off_is_kept(
    bootstrap: ModuleType, tmp_path: Path
) -> None:
    here = tmp_path / "one" / ".venv"
    assert not bootstrap.is_usable(here)
    venv.create(here, with_pip=True, symlinks=True)
    assert bootstrap.is_usable(here)
    (here / "nightcrew-setup.begun").touch()
    assert not bootstrap.is_usable(here)
    (here / "nightcrew-setup.begun").unlink()
    (here / "nightcrew-run.stamp").write_text("/elsewhere\nx\n")
    assert not bootstrap.is_usable(here)
    (here / "nightcrew-run.stamp").unlink()
    (tmp_path / "one").rename(tmp_path / "two")
    assert not bootstrap.is_usable(tmp_path / "two" / ".venv")


def test_every_dependency_is_pinned_and_no_address_is_named() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin)] == []
    pinned = {_normalised(pin.split("==")[0]) for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = project["dependencies"] + project["optional-dependencies"]["test"]
    wanted = {_normalised(re.split(r"[><=]", name)[0]) for name in required} | {"hatchling"}
    assert wanted - pinned == set()
    names = ("bin/nightcrew", "bin/test", "bin/setup", "bin/bootstrap.py", "constraints.txt", ".ci/run")
    assert [name for name in names if "://" in (ROOT / name).read_text(encoding="utf-8")] == []


def _normalised(name: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
