"""The import rules know every outside library that the package depends on."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
# Distributions whose module has another name.
MODULES = {"markdown-it-py": "markdown_it"}


def test_each_dependency_has_an_owner() -> None:
    project = tomllib.loads(PROJECT.read_text())
    names = [re.split(r"[<>=\[]", line)[0] for line in project["project"]["dependencies"]]
    contracts = project["tool"]["importlinter"]["contracts"]
    (owned,) = [contract["forbidden_modules"] for contract in contracts if contract["type"] == "forbidden"]
    assert {MODULES.get(name, name) for name in names} <= set(owned)
