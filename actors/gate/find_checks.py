"""Finds the test commands of a repository, for a spec that names none."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_SKIPPED_FOLDERS = frozenset(
    {"node_modules", "vendor", "target", "dist", "build", "venv", "docs", "examples"}
)


@dataclass(frozen=True, slots=True)
class FoundChecks:
    """Commands to run from the repository's root, and one sentence that explains the choice."""

    commands: tuple[str, ...]
    source: str


def find_checks(tree: Path) -> FoundChecks:
    """Test commands for the files in `tree`: those of its root, or else of the folders directly below it.

    Reads files only and runs nothing. If there are none, merges remain unverified.
    """
    found = list(_in_folder(tree))
    if not found:
        for folder in sorted(path for path in tree.iterdir() if _is_searched(path)):
            for command, reason in _in_folder(folder):
                found.append((f"cd {shlex.quote(folder.name)} && {command}", f"{folder.name}: {reason}"))
    if not found:
        return FoundChecks((), "no tests were found: looked for pytest, unittest, npm, cargo, go and make")
    reasons = "; ".join(reason for _, reason in found)
    return FoundChecks(tuple(command for command, _ in found), f"found in the repository: {reasons}")


def _in_folder(folder: Path) -> Iterator[tuple[str, str]]:
    finders: tuple[Callable[[Path], tuple[str, str] | None], ...] = (_python, _npm, _cargo, _go)
    found = [check for finder in finders if (check := finder(folder)) is not None]
    if not found and (check := _make(folder)) is not None:
        # Only if nothing else was found: `make test` usually runs one of the others.
        found = [check]
    yield from found


def _is_searched(path: Path) -> bool:
    return (
        path.is_dir()
        and not path.is_symlink()
        and not path.name.startswith(".")
        and path.name not in _SKIPPED_FOLDERS
    )


def _python(folder: Path) -> tuple[str, str] | None:
    command = "python3 -m pytest -q"
    for name, mark in (("pytest.ini", ""), ("setup.cfg", "[tool:pytest]"), ("tox.ini", "[pytest]")):
        if (folder / name).is_file() and mark in _text(folder / name):
            return command, f"{name} configures pytest"
    if re.search(r"^\[tool\.pytest\b", _text(folder / "pyproject.toml"), re.MULTILINE):
        return command, "pyproject.toml configures pytest"
    tests = _python_tests(folder)
    if not tests:
        return None
    texts = [_text(path) for path in tests[:200]]
    if (folder / "conftest.py").is_file() or any("pytest" in text for text in texts):
        return command, f"{_relative(tests[0], folder)} is written for pytest"
    if all("unittest" in text for text in texts):
        return _unittest_command(folder, tests), f"{_relative(tests[0], folder)} is written for unittest"
    return command, f"{_relative(tests[0], folder)} contains tests"


def _python_tests(folder: Path) -> list[Path]:
    places = [folder, *(folder / name for name in ("tests", "test", "testing", "src/tests"))]
    found = [
        path for place in places for pattern in ("test_*.py", "*_test.py") for path in place.glob(pattern)
    ]
    for name in ("tests", "test"):
        found += sorted((folder / name).glob("*/**/test_*.py"))
    return [path for path in dict.fromkeys(found) if path.is_file()]


def _unittest_command(folder: Path, tests: list[Path]) -> str:
    top = _relative(tests[0], folder).split("/")[0]
    if not (folder / top).is_dir():
        return "python3 -m unittest discover -v"
    start = shlex.quote(top)
    # A tests package is imported from the root. Otherwise `-m` has put the root on the path already.
    return f"python3 -m unittest discover -v -s {start}" + (
        " -t ." if (folder / top / "__init__.py").is_file() else ""
    )


def _npm(folder: Path) -> tuple[str, str] | None:
    with contextlib.suppress(ValueError, AttributeError):
        script = json.loads(_text(folder / "package.json") or "{}").get("scripts", {}).get("test")
        if isinstance(script, str) and script and "no test specified" not in script:
            tools = (("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn"), ("bun.lockb", "bun run"))
            tool = next((tool for lock, tool in tools if (folder / lock).is_file()), "npm")
            # CI=true stops jest, vitest and others from waiting for a key press.
            return f"CI=true {tool} test", "package.json has a test script"
    return None


def _cargo(folder: Path) -> tuple[str, str] | None:
    if not (folder / "Cargo.toml").is_file():
        return None
    with contextlib.suppress(tomllib.TOMLDecodeError):
        if "workspace" in tomllib.loads(_text(folder / "Cargo.toml")):
            return "cargo test --no-fail-fast --workspace", "Cargo.toml exists"
    return "cargo test --no-fail-fast", "Cargo.toml exists"


def _go(folder: Path) -> tuple[str, str] | None:
    return ("go test -v ./...", "go.mod exists") if (folder / "go.mod").is_file() else None


def _make(folder: Path) -> tuple[str, str] | None:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        target = re.search(r"^(test|check)\s*:(?!=)", _text(folder / name), re.MULTILINE)
        if target is not None:
            return f"make {target[1]}", f"{name} has the target {target[1]}"
    return None


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""
