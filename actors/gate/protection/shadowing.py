"""Finds files that would take the place of a test runner, the standard library or an installed package."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

_PYTHON_RUNNERS = frozenset(
    {
        *("pytest", "_pytest", "pluggy", "iniconfig", "py", "xdist", "pytest_cov", "pytest_asyncio", "anyio"),
        *("nose", "nose2", "hypothesis", "tox", "nox", "coverage", "mock", "testtools", "twisted", "django"),
        *("sitecustomize", "usercustomize", "setuptools", "pip", "pkg_resources"),
        *("nightcrew_pytest", "nightcrew_recorder", "nightcrew_unittest"),
    }
)
_PYTHON_NAMES = _PYTHON_RUNNERS | frozenset(sys.stdlib_module_names)
_PYTHON_ENDINGS = frozenset({".py", ".pyc", ".pyi", ".so", ".pyd"})
# Folders that are usually on Python's path. In a package, a module's name is its own affair.
_PYTHON_ROOTS = frozenset({"", "src", "lib", "python", "test", "tests"})

_INSTALLED = "brings installed files of its own"
_OTHERS = (
    (re.compile(r"(?:^|/)(?:node_modules|\.venv|venv|site-packages|__pycache__)/"), _INSTALLED),
    (re.compile(r"^vendor/(?:bin|composer|phpunit|bundle)/"), _INSTALLED),
    (re.compile(r"\.pth$|\.egg-link$|\.(?:egg|dist)-info/|\.pyc$"), "is loaded by Python at its start"),
    (
        re.compile(r"^(?:lib/|spec/|test/)?(?:rspec|minitest|test/unit|rake)(?:\.rb|/)"),
        "hides a test runner of Ruby",
    ),
    (
        re.compile(
            r"/(?:org/junit|junit/framework|org/assertj|org/mockito|org/hamcrest|org/testng)/"
            r"|(?:^|/)(?:assert\.h|gtest/gtest\.h|gmock/gmock\.h|catch2?/catch[^/]*\.hpp|doctest\.h)$"
        ),
        "hides a test library",
    ),
    (
        re.compile(r"^(?:bin/)?(?:python3?|pytest|node|npm|npx|cargo|go|make|ruby|java|mvn|bash|sh|env)$"),
        "has the name of a tool",
    ),
)


def shadowing_files(added: Iterable[str], tree: Collection[str]) -> list[str]:
    """Sentences about the added files that would replace what tests rely on. `tree` is all of the candidate."""
    files = frozenset(tree)
    sentences = []
    for path in added:
        reason = _python(path, files) or next(
            (text for pattern, text in _OTHERS if pattern.search(path)), None
        )
        if reason is not None:
            sentences.append(f"{path} {reason}")
    return sentences


def _python(path: str, tree: frozenset[str]) -> str | None:
    pure = PurePosixPath(path)
    if pure.suffix not in _PYTHON_ENDINGS:
        return None
    # The outermost module or package is what is imported; a folder with __init__.py is a package.
    folder, name = pure.parent, pure.name.split(".")[0]
    if name == "__init__":
        folder, name = folder.parent, folder.name
    while str(folder) != "." and f"{folder}/__init__.py" in tree:
        folder, name = folder.parent, folder.name
    root = "" if str(folder) == "." else str(folder)
    is_root = root in _PYTHON_ROOTS or any(f"{root}/{test}" in tree for test in ("conftest.py", "pytest.ini"))
    if name in _PYTHON_RUNNERS or (is_root and name in _PYTHON_NAMES and name not in ("test", "tests")):
        return f"hides the module {name} of Python"
    # Without an __init__.py a folder can be imported too, as soon as its parent is on the path.
    first = pure.parts[0] if len(pure.parts) > 1 else ""
    if first in _PYTHON_RUNNERS or (first in _PYTHON_NAMES and first not in ("test", "lib2to3", "tests")):
        return f"hides the module {first} of Python"
    return None
