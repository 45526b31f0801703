"""How the dependencies of a Python project are installed, and whether an interpreter has them already."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.environment.reading import read_file, read_toml, table

_TEST_NAMES = ("test", "tests", "testing", "dev", "develop", "development", "ci")
_TEST_REQUIREMENTS = re.compile(
    r"(?:dev|tests?|testing|ci)[-_.]?requirements|requirements[-_.](?:dev|tests?|testing|ci)"
)
# Prints what is missing and exits with 1, or exits with 0. Names only: versions are the installer's business.
_PROBE = """\
import importlib.metadata as m, sys
missing = []
for name in sys.argv[1:]:
    try: m.distribution(name)
    except m.PackageNotFoundError: missing.append(name)
print(*missing); sys.exit(bool(missing))
"""


@dataclass(frozen=True, slots=True)
class PythonPlan:
    """An installation into `.venv` in the project's folder.

    `files` decide what is installed, together with `dependencies`, the relevant part of pyproject.toml.
    """

    tool: str
    command: str
    files: tuple[str, ...]
    dependencies: str
    probe: str
    is_locked: bool


def plan(top: Path, folder: str, names: frozenset[str], *, needs_pytest: bool) -> PythonPlan | None:
    """The plan for a folder with files of these names; None if it is no Python project or needs nothing."""
    document = read_toml(top, f"{folder}/pyproject.toml" if folder else "pyproject.toml")
    requirements = [
        name for name in sorted(names) if name.startswith("requirements") and name.endswith(".txt")
    ]
    is_package = bool(table(document, "project") or table(document, "tool", "poetry")) or "setup.py" in names
    if not requirements and not is_package and not names & {"uv.lock", "Pipfile"}:
        return None
    wanted = [*_wanted(top, folder, document, requirements), *_own_name(top, folder, document)]
    if needs_pytest:
        wanted.append("pytest")
    if not wanted:
        return None
    extras = [name for name in _TEST_NAMES if name in table(document, "project", "optional-dependencies")]
    groups = [name for name in _TEST_NAMES if name in table(document, "dependency-groups")]
    tool, command = _command(names, requirements, is_package, extras, groups)
    if needs_pytest and tool == "pip":
        command += " pytest"
    locks = [name for name in ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock") if name in names]
    files = (*locks, *requirements, *(name for name in ("setup.py", "setup.cfg") if name in names))
    probe = " ".join(
        ["python3", "-c", shlex.quote(_PROBE), *(shlex.quote(name) for name in dict.fromkeys(wanted))]
    )
    return PythonPlan(tool, command, files, _relevant(document), probe, is_locked=bool(locks))


def _command(
    names: frozenset[str], requirements: list[str], is_package: bool, extras: list[str], groups: list[str]
) -> tuple[str, str]:
    if "uv.lock" in names:
        options = [f"--extra {name}" for name in extras] + [f"--group {name}" for name in groups]
        return "uv", " ".join(["uv sync --locked", *options])
    if "poetry.lock" in names:
        return "poetry", "POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-interaction --all-extras"
    if "pdm.lock" in names:
        return "pdm", "pdm venv create --with venv -f python3; pdm sync"
    if "Pipfile.lock" in names:
        return "pipenv", "PIPENV_VENV_IN_PROJECT=1 pipenv sync --dev"
    chosen = [name for name in requirements if name == "requirements.txt" or _TEST_REQUIREMENTS.search(name)]
    words = [f"-r {shlex.quote(name)}" for name in chosen or requirements[:1]]
    if is_package:
        words.append(shlex.quote(f".[{','.join(extras)}]") if extras else ".")
        words[-1] = f"-e {words[-1]}"
    # pip installs dependency groups since 25.1; an older one is replaced in the new environment first.
    words += [f"--group {name}" for name in groups]
    newer = ".venv/bin/python -m pip install -q --upgrade 'pip>=25.1' && " if groups else ""
    return "pip", f"python3 -m venv .venv && {newer}.venv/bin/python -m pip install -q {' '.join(words)}"


def _own_name(top: Path, folder: str, document: dict[str, Any]) -> list[str]:
    """The project's own name if it must be installed: its sources are in `src`, or setup.py has dependencies."""
    place = top / folder if folder else top
    name = table(document, "project").get("name") or table(document, "tool", "poetry").get("name")
    if isinstance(name, str):
        return [name] if (place / "src").is_dir() else []
    texts = [(read_file(place, file) or b"").decode(errors="replace") for file in ("setup.cfg", "setup.py")]
    text = "\n".join(texts)
    found = re.search(r"""\bname\s*=\s*["']?([A-Za-z0-9][\w.-]*)""", text)
    needs_install = "install_requires" in text or (place / "src").is_dir()
    return [found[1]] if found is not None and needs_install else []


def _relevant(document: dict[str, Any]) -> str:
    """The parts of pyproject.toml that change what is installed, as text for a digest."""
    project = table(document, "project")
    parts: dict[str, Any] = {
        name: project.get(name)
        for name in (
            "name",
            "dependencies",
            "optional-dependencies",
            "requires-python",
            "scripts",
            "entry-points",
        )
    }
    parts |= {name: table(document, name) for name in ("build-system", "dependency-groups")}
    parts |= {name: table(document, "tool", name) for name in ("poetry", "uv", "pdm")}
    return json.dumps(parts, sort_keys=True, default=str)


def _wanted(top: Path, folder: str, document: dict[str, Any], requirements: list[str]) -> list[str]:
    """Names of distributions that the project depends on, as far as files say so. No markers: see `_name`."""
    project = table(document, "project")
    optional = table(project, "optional-dependencies")
    groups = table(document, "dependency-groups")
    lines = list(_texts(project.get("dependencies")))
    lines += [
        line for name in _TEST_NAMES for line in (*_texts(optional.get(name)), *_texts(groups.get(name)))
    ]
    for name in requirements:
        content = read_file(top, f"{folder}/{name}" if folder else name) or b""
        lines += content.decode(errors="replace").splitlines()
    poetry = table(document, "tool", "poetry")
    lines += [name for name in table(poetry, "dependencies") if name != "python"]
    return [name for name in map(_name, lines) if name]


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _name(line: str) -> str:
    """The distribution's name in a requirement; "" for options, addresses, and what holds only elsewhere."""
    line = line.partition("#")[0].strip()
    found = re.match(r"[A-Za-z0-9][\w.-]*", line)
    is_plain = (
        found is not None and ";" not in line and "://" not in line and not line.startswith(("-", ".", "/"))
    )
    return found[0] if found is not None and is_plain else ""
