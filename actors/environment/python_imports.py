"""Where Python would import a repository's own packages from, when a given check runs."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from actors.environment.reading import read_file, read_toml, table
from actors.sandbox.policy import Sandbox

_NOT_PACKAGES = frozenset(
    {"tests", "test", "docs", "doc", "examples", "example", "benchmarks", "scripts", "tools"}
)
_MAX_PACKAGES = 50
# argv: mark, folders that come first on the path (joined by ":"), packages. `-c` puts the current folder on the
# path, which the command `pytest` does not, so it is removed.
_SCRIPT = """\
import importlib.machinery as m, importlib.util as u, os, sys
mark, first, names = sys.argv[1], sys.argv[2], sys.argv[3:]
here = [os.path.abspath(p) for p in first.split(":") if p]
sys.path[:] = [p for p in sys.path if p]
for name in names:
    try:
        spec = m.PathFinder.find_spec(name, here) if here else None
        if spec is None or not (spec.origin or spec.submodule_search_locations):
            spec = u.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        continue
    if spec is None:
        continue
    found = spec.origin or next(iter(spec.submodule_search_locations or ()), "")
    if found not in ("", "built-in", "frozen"):
        print(mark, name, os.path.realpath(found), sep="\\t")
"""


def questions(worktree: Path, manifests: Sequence[str], command: str, mark: str) -> list[str]:
    """Shell commands that print `mark`, a package and its import location, separated by tabs.

    Empty if the repository has no Python package.
    """
    folders = _python_folders(manifests)
    start = start_folder(command)
    lines = []
    for folder in folders:
        packages = _packages(worktree, folder)
        if packages:
            first = ":".join(_first_folders(worktree, folder, start, command))
            words = " ".join(shlex.quote(word) for word in ("-c", _SCRIPT, mark, first, *packages))
            pythons = " ".join(shlex.quote(name) for name in _interpreters(command))
            # Such a Python ignores PYTHONPATH.
            isolated = "-E " if re.search(r"\bpython[\d.]*\s+-\w*[IE]", command) else ""
            attempt = f'if command -v "$p" > /dev/null; then exec "$p" {isolated}{words}; fi'
            lines.append(f"( cd {shlex.quote(start)}; for p in {pythons}; do {attempt}; done ) 2> /dev/null")
    return lines


def own_programs(sandbox: Sandbox, command: str) -> str:
    """A shell line that puts the virtual environment of the check's folder first on PATH; "" if it has none.

    In a repository with several projects `cd api && pytest` means the environment in `api`.
    """
    workplace, start = sandbox.workplace, start_folder(command)
    if workplace is None or start == ".":
        return ""
    targets = {mount.target for mount in workplace.mounts}
    places = [f"{workplace.path}/{start}/{name}" for name in (".venv", "venv")]
    found = next((place for place in places if place in targets), None)
    return "" if found is None else f'export PATH={shlex.quote(found)}/bin:"$PATH"\n'


def python_sources(worktree: Path, manifests: Sequence[str]) -> list[str]:
    """The folders (absolute) that hold the top-level packages of the repository's Python projects."""
    names = ("pyproject.toml", "setup.py", "setup.cfg")
    places = [(worktree / path).parent for path in manifests if PurePosixPath(path).name in names]
    return [str(place / "src" if (place / "src").is_dir() else place) for place in dict.fromkeys(places)]


def _python_folders(manifests: Sequence[str]) -> list[str]:
    names = ("pyproject.toml", "setup.py", "setup.cfg")
    found = [str(PurePosixPath(path).parent) for path in manifests if PurePosixPath(path).name in names]
    return list(dict.fromkeys(found)) or ["."]


def start_folder(command: str) -> str:
    """The folder that a check changes into first, relative to the top."""
    found = re.match(r"\s*cd\s+([\w./-]+)\s*(?:&&|;)", command)
    return found[1].strip("/") if found is not None else "."


def _interpreters(command: str) -> list[str]:
    """The Pythons to ask, the first that exists: the one that the check names, else those on PATH."""
    named = re.search(r"(?:^|[\s;&(])((?:[\w./-]*/)?)(python[\d.]*|pytest)(?=\s|$)", command)
    found = [f"{named[1]}{'python3' if named[2] == 'pytest' else named[2]}"] if named is not None else []
    if re.search(r"\b(?:uv|poetry|pdm|pipenv|hatch)\s+run\b", command):
        found.append(".venv/bin/python")
    return list(dict.fromkeys([*found, "python3", "python"]))


def _packages(worktree: Path, folder: str) -> list[str]:
    """The top-level packages and, in `src`, modules of a project. No links are followed."""
    found: list[str] = []
    for place, is_source in ((worktree / folder / "src", True), (worktree / folder, False)):
        try:
            entries = (
                sorted(os.scandir(place), key=lambda entry: entry.name) if not place.is_symlink() else []
            )
        except OSError:
            continue
        for entry in entries:
            name = entry.name
            if entry.is_dir(follow_symlinks=False) and name.isidentifier() and name not in _NOT_PACKAGES:
                if os.path.lexists(os.path.join(entry.path, "__init__.py")):  # noqa: PTH118 - before each check; pathlib is slower
                    found.append(name)
            elif is_source and name.endswith(".py") and name[:-3].isidentifier():
                found.append(name[:-3])
    return list(dict.fromkeys(found))[:_MAX_PACKAGES]


def _first_folders(worktree: Path, folder: str, start: str, command: str) -> list[str]:
    """Folders of the worktree that the check's runner puts before installed packages, relative to `start`."""
    found = [part for value in re.findall(r"\bPYTHONPATH=([\w./:-]+)", command) for part in value.split(":")]
    top = worktree / folder
    settings = table(read_toml(top, "pyproject.toml"), "tool", "pytest", "ini_options").get("pythonpath")
    paths = settings.split() if isinstance(settings, str) else settings if isinstance(settings, list) else []
    for name in ("pytest.ini", "tox.ini", "setup.cfg"):
        text = (read_file(top, name) or b"").decode(errors="replace")
        ini = re.search(r"^pythonpath\s*=\s*(.+)$", text, re.MULTILINE)
        paths = paths or (ini[1].split() if ini is not None else [])
    found += [os.path.relpath(os.path.join(folder, str(path)), start) for path in paths]  # noqa: PTH118 - relpath has no twin in pathlib
    bare_pytest = re.search(r"(?<!-m )\bpytest\b", command) is not None
    inserts_top = (top / "conftest.py").is_file() or any(
        (top / t / "__init__.py").is_file() for t in ("tests", "test")
    )
    if inserts_top:
        found.append(os.path.relpath(folder, start))
    return found if bare_pytest else [*found, "."]
