"""Which set-up a fresh checkout needs: the commands of the spec, else one unit per tool and folder.

A unit is keyed by the content of the files that decide what it installs. The first row of the table whose
lockfile or manifest is in a folder applies there, one for each language.

| language | files                               | command                                               |
|----------|-------------------------------------|-------------------------------------------------------|
| Python   | uv.lock                             | uv sync --locked                                      |
|          | poetry.lock, pdm.lock, Pipfile.lock | poetry install, pdm sync, pipenv sync                 |
|          | requirements*.txt, pyproject.toml   | pip install into a new .venv, with the test extras    |
| Node     | package-lock.json, pnpm-lock.yaml,  | npm ci, pnpm install, yarn install, bun install       |
|          | yarn.lock, bun.lock                 |                                                       |
| others   | Cargo.lock, go.mod, pom.xml, gradle | cargo fetch, go mod download, mvn, gradle             |
|          | Gemfile, composer.json              | bundle install, composer install                      |
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from actors.environment.reading import read_file, read_json
from actors.environment.setup import python as python_setup

SPEC = "spec"


@dataclass(frozen=True, slots=True)
class SetupUnit:
    """One set-up: `command`, a shell line for the repository's top folder, with the network.

    - `tool`: npm, pip, ... ; `spec` for the commands of the spec. `folder`: where it works, "" for the top.
    - `digest`: changes with what it installs. `makes`: folders that it makes, relative to the top.
    - `probe`: a shell line that succeeds without the network if nothing needs to be installed.
    """

    tool: str
    folder: str
    command: str
    digest: str
    makes: tuple[str, ...] = ()
    probe: str | None = None

    @property
    def key(self) -> str:
        """A file name that is unique to this unit and what it installs."""
        place = hashlib.sha256(f"{self.folder}\0{self.command}\0{self.digest}".encode()).hexdigest()
        return f"{self.tool}-{place[:20]}"

    @property
    def name(self) -> str:
        """For people, such as `npm in packages/web`."""
        return f"{self.tool} in {self.folder}" if self.folder else self.tool

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SetupUnit:
        """The unit of which JSON holds `dataclasses.asdict`. Raises KeyError or TypeError."""
        return cls(**{**value, "makes": tuple(value["makes"])})


def find_units(
    top: Path, manifests: Sequence[str], *, spec_commands: Sequence[str] = (), checks: Sequence[str] = ()
) -> tuple[SetupUnit, ...]:
    """The units for the files `manifests` (relative to `top`), whether or not anything is installed already.

    The commands of the spec replace all others. `checks` say whether pytest is needed.
    """
    if spec_commands:
        # Each in a shell of its own, so that `cd` in one does not move the next.
        command = " && ".join(f"( {line} )" for line in spec_commands)
        return (SetupUnit(SPEC, "", command, _digest(top, manifests, command)),)
    folders: dict[str, set[str]] = {}
    for path in manifests:
        parent, name = str(PurePosixPath(path).parent), PurePosixPath(path).name
        folders.setdefault("" if parent == "." else parent, set()).add(name)
    found: list[SetupUnit] = []
    for folder in sorted(folders, key=lambda place: (place.count("/"), place)):
        if _is_fixture(folder):
            continue
        for find in (_python, _node, _caches, _others):
            unit = find(top, folder, frozenset(folders[folder]), found, checks)
            found += [unit] if unit is not None else []
    return tuple(found)


def _is_fixture(folder: str) -> bool:
    """Test data and examples often contain whole projects that are not to be installed."""
    return not {"tests", "test", "testdata", "fixtures", "examples", "example", "docs"}.isdisjoint(
        folder.split("/")
    )


def _in(folder: str, command: str) -> str:
    return f"cd {shlex.quote(folder)} && {command}" if folder else command


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _digest(top: Path, names: Iterable[str], *more: str) -> str:
    digest = hashlib.sha256("\0".join(more).encode())
    for name in names:
        digest.update(f"\0{name}\0".encode() + (read_file(top, name) or b""))
    return digest.hexdigest()


def _python(
    top: Path, folder: str, names: frozenset[str], found: Sequence[SetupUnit], checks: Sequence[str]
) -> SetupUnit | None:
    plan = python_setup.plan(top, folder, names, needs_pytest=any("pytest" in check for check in checks))
    # Members of a workspace are installed by the unit of the top folder.
    if plan is None or (
        folder and not plan.is_locked and any(unit.tool in ("uv", "poetry") for unit in found)
    ):
        return None
    digest = _digest(top, (_join(folder, name) for name in plan.files), plan.dependencies)
    makes = (_join(folder, ".venv"),)
    return SetupUnit(plan.tool, folder, _in(folder, plan.command), digest, makes, _in(folder, plan.probe))


_NODE = (
    ("package-lock.json", "npm", "npm ci"),
    ("npm-shrinkwrap.json", "npm", "npm ci"),
    ("pnpm-lock.yaml", "pnpm", "pnpm install --frozen-lockfile"),
    ("bun.lock", "bun", "bun install --frozen-lockfile"),
    ("bun.lockb", "bun", "bun install --frozen-lockfile"),
    ("yarn.lock", "yarn", "yarn install --frozen-lockfile"),
)
_NODE_SECTIONS = (
    *("dependencies", "devDependencies", "optionalDependencies", "peerDependencies"),
    *("workspaces", "overrides", "resolutions", "pnpm", "packageManager"),
)


def _node(
    top: Path, folder: str, names: frozenset[str], found: Sequence[SetupUnit], _checks: Sequence[str]
) -> SetupUnit | None:
    if "package.json" not in names:
        return None
    package = read_json(top, _join(folder, "package.json"))
    sections = {name: package[name] for name in _NODE_SECTIONS if name in package}
    lock, tool, command = next(
        (row for row in _NODE if row[0] in names),
        ("", "npm", "npm install --no-package-lock --no-audit --no-fund"),
    )
    # A package of a workspace is installed with the top one, and one without dependencies needs nothing.
    inside = any(unit.makes and unit.makes[0].endswith("node_modules") for unit in found)
    if not sections or (not lock and inside):
        return None
    if tool == "yarn" and read_file(top, _join(folder, ".yarnrc.yml")) is not None:
        command = "yarn install --immutable"
    files = [_join(folder, lock)] if lock else []
    digest = _digest(top, files, json.dumps(sections, sort_keys=True))
    makes = (_join(folder, "node_modules"),)
    return SetupUnit(tool, folder, _in(folder, command), digest, makes, f"test -d {shlex.quote(makes[0])}")


# Tools that keep dependencies outside of the project: the probe asks whether the caches suffice.
_CACHES = (
    (
        *("Cargo.lock", "cargo", ("Cargo.toml", "Cargo.lock"), "cargo fetch --locked"),
        "cargo metadata --offline --locked --format-version 1 > /dev/null",
    ),
    (
        *("Cargo.toml", "cargo", ("Cargo.toml",), "cargo fetch"),
        "cargo metadata --offline --format-version 1 > /dev/null",
    ),
    (
        *("go.mod", "go", ("go.mod", "go.sum"), "go mod download"),
        "GOPROXY=off go list -deps -test ./... > /dev/null",
    ),
    (
        # Maven resolves the runner of the tests only when it runs some: all classes, and no method of them.
        *("pom.xml", "maven", ("pom.xml",)),
        "mvn -B -q test -Dtest='*#nightcrewNone' -DfailIfNoTests=false -Dsurefire.failIfNoSpecifiedTests=false",
        "mvn -o -B -q test-compile",
    ),
    (
        *("gradlew", "gradle", ("build.gradle", "build.gradle.kts"), "./gradlew --no-daemon -q testClasses"),
        "./gradlew --offline --no-daemon -q testClasses",
    ),
    (
        *("build.gradle", "gradle", ("build.gradle",), "gradle --no-daemon -q testClasses"),
        "gradle --offline --no-daemon -q testClasses",
    ),
    (
        *("build.gradle.kts", "gradle", ("build.gradle.kts",), "gradle --no-daemon -q testClasses"),
        "gradle --offline --no-daemon -q testClasses",
    ),
)


def _caches(
    top: Path, folder: str, names: frozenset[str], found: Sequence[SetupUnit], _checks: Sequence[str]
) -> SetupUnit | None:
    for marker, tool, files, command, probe in _CACHES:
        # A workspace or a build with modules is prepared as a whole, from its top folder.
        if marker in names and not any(
            unit.tool == tool and _contains(unit.folder, folder) for unit in found
        ):
            present = [_join(folder, name) for name in files if name in names]
            return SetupUnit(
                tool, folder, _in(folder, command), _digest(top, present), (), _in(folder, probe)
            )
    return None


def _contains(outer: str, inner: str) -> bool:
    return outer == "" or inner == outer or inner.startswith(f"{outer}/")


def _others(
    top: Path, folder: str, names: frozenset[str], _found: Sequence[SetupUnit], _checks: Sequence[str]
) -> SetupUnit | None:
    if "Gemfile" in names:
        files = [_join(folder, name) for name in ("Gemfile", "Gemfile.lock") if name in names]
        command = _in(folder, "bundle config set --local path vendor/bundle && bundle install")
        makes = (_join(folder, "vendor"), _join(folder, ".bundle"))
        return SetupUnit("bundler", folder, command, _digest(top, files), makes, _in(folder, "bundle check"))
    if "composer.json" in names:
        files = [_join(folder, name) for name in ("composer.json", "composer.lock") if name in names]
        command = _in(folder, "composer install --no-interaction --no-progress")
        vendor = _join(folder, "vendor")
        probe = f"test -d {shlex.quote(vendor)}"
        return SetupUnit("composer", folder, command, _digest(top, files), (vendor,), probe)
    return None
