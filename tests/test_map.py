"""The map of the code is complete: README.md names every folder, each package's docstring every module in it."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = ("actors", "store", "supervisor")


def _tracked(*folders: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).exists()]


def _packages() -> list[Path]:
    return sorted({path.parent for path in _tracked(*CODE) if path.name == "__init__.py"})


def _named(text: str) -> set[str]:
    """The modules that a docstring names: in backquotes, as `name.py` or `name/`, or in a table's first column."""
    quoted = re.findall(r"`([^`\n]+)`", text)
    columns = re.findall(r"^ +(\w+(?:, \w+)*)  +\S", text, re.MULTILINE)
    found = {part for names in [*quoted, *columns] for part in re.split(r"[\s,/.{}]+", names)}
    return found | set(re.findall(r"\b(\w+)(?:\.py\b|/)", text))


def test_readme_names_every_folder_of_the_code() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    folders = {str(path) for path in _packages()} | {"bin", ".ci", "tests"}
    folders |= {f"tests/{path.parts[1]}" for path in _tracked("tests") if len(path.parts) > 2}
    missing = sorted(folder for folder in folders if f"`{folder}/`" not in readme)
    assert missing == []


def test_readme_names_no_folder_that_does_not_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:actors|store|supervisor|tests)/[\w/]*)/`", readme)
    assert [name for name in named if not (ROOT / name).is_dir()] == []


@pytest.mark.parametrize("package", _packages(), ids=str)
def test_package_docstring_names_every_module(package: Path) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8")))
    assert docstring, f"{package}/__init__.py has no docstring"
    inside = {path.relative_to(package) for path in _tracked(str(package))}
    names = {path.parts[0] if len(path.parts) > 1 else path.stem for path in inside if path.suffix == ".py"}
    assert sorted(names - {"__init__", "__main__"} - _named(docstring)) == []
