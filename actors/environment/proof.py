"""Whether the project's own packages resolve to the worktree's files, in the sandbox of the checks.

A check that imports the user's checkout, or an installed copy, says nothing about the worktree: a change that
breaks the library would pass. So this runs before each check, and the check does not run if anything resolves
elsewhere.

| language | question                                                                    |
|----------|-----------------------------------------------------------------------------|
| Python   | the import location of each top-level package of the repository             |
| Node     | where the links of its packages in `node_modules` lead                      |
| Go       | `go list -m` of its modules, if it has several                              |
| Rust     | `cargo metadata`: the manifests of packages that come from a path           |
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from actors.environment import python_imports
from actors.environment.reading import read_file, read_json
from actors.sandbox.policy import Sandbox
from actors.sandbox.run import run_command

_TIMEOUT_S = 60.0
_MARK = "nightcrew-resolves"
_CARGO = (
    "cargo metadata --offline --format-version 1 2> /dev/null"
    r""" | grep -o '"source":null,[^{}]*"manifest_path":"[^"]*"' | grep -o '"manifest_path":"[^"]*"'"""
    r""" | sed -e 's/^"manifest_path":"//' -e 's/"$//'"""
)


@dataclass(frozen=True, slots=True)
class Resolved:
    """An own package, and where it resolves to."""

    package: str
    place: str


def resolve_outside(
    sandbox: Sandbox, worktree: Path, manifests: tuple[str, ...], command: str
) -> tuple[Resolved, ...]:
    """The own packages that do not resolve to the worktree's files when `command` runs there. Empty: all do.

    `manifests` are the worktree's (`folders.find_manifests`). Takes 30 to 100 ms for each language. A question
    that cannot be answered, for example because a tool is missing, is left to the check. Raises SandboxError.
    """
    questions = [
        *python_imports.questions(worktree, manifests, command, _MARK),
        *_node_questions(worktree, manifests),
        *_go_questions(worktree, manifests),
        *_cargo_questions(manifests),
    ]
    if not questions:
        return ()
    lines = python_imports.own_programs(sandbox, command) + "\n".join(questions)
    answer = run_command(sandbox, lines, worktree=worktree, timeout_s=_TIMEOUT_S, shown_chars=200_000)
    workplace = sandbox.workplace
    place = workplace.path if workplace is not None else str(worktree.resolve())
    dependencies = tuple(mount.target for mount in workplace.mounts) if workplace is not None else ()
    found = [line.split("\t") for line in answer.output.splitlines() if line.startswith(f"{_MARK}\t")]
    resolved = [Resolved(parts[1], parts[2]) for parts in found if len(parts) == 3]
    return tuple(one for one in resolved if not _is_source(one.place, place, dependencies))


def explain(outside: tuple[Resolved, ...]) -> str:
    """Why a check does not run, for its report."""
    lines = [f"- {one.package} resolves to {one.place}" for one in outside]
    return "\n".join(
        [
            "The check was not run: it would not test the files of this worktree.",
            *lines,
            "Install the project's own packages as links to its sources (`pip install -e .`, npm workspaces).",
        ]
    )


def _is_source(path: str, place: str, dependencies: tuple[str, ...]) -> bool:
    """Whether a path is in the worktree, and not in a folder of installed packages."""
    inside = path == place or path.startswith(f"{place}/")
    installed = (
        re.search(r"/(node_modules|site-packages|dist-packages)/", path.removeprefix(place)) is not None
    )
    return inside and not installed and not any(path.startswith(f"{folder}/") for folder in dependencies)


def _report(package: str, answer: str) -> str:
    """A shell command that prints the package and the path that the shell words `answer` give, if any."""
    quoted = shlex.quote(package)
    return f'found={answer}; [ -z "$found" ] || printf "{_MARK}\\t%s\\t%s\\n" {quoted} "$found"'


def _node_questions(worktree: Path, manifests: tuple[str, ...]) -> list[str]:
    folders = [
        str(PurePosixPath(path).parent) for path in manifests if PurePosixPath(path).name == "package.json"
    ]
    questions = []
    for folder in folders:
        name = read_json(worktree, "package.json" if folder == "." else f"{folder}/package.json").get("name")
        if isinstance(name, str) and re.fullmatch(r"(@[\w.-]+/)?[\w.-]+", name):
            # Those who use it look in their own folder and in the top one.
            for user in dict.fromkeys((".", *folders)):
                link = shlex.quote(f"{user}/node_modules/{name}")
                questions.append(_report(name, f'"$([ -e {link} ] && readlink -f {link})"'))
    return questions[:400] if len(folders) > 1 else []


def _go_questions(worktree: Path, manifests: tuple[str, ...]) -> list[str]:
    paths = [path for path in manifests if PurePosixPath(path).name == "go.mod"]
    modules = []
    for path in paths:
        found = re.search(rb"^module\s+\"?([\w./~-]+)", read_file(worktree, path) or b"", re.MULTILINE)
        if found is not None:
            modules.append(found[1].decode())
    if len(modules) < 2:
        return []
    listing = f"{_MARK}\\t{{{{.Path}}}}\\t{{{{.Dir}}}}"
    asked = " ".join(shlex.quote(module) for module in modules)
    return [f'go list -m -f "$(printf {shlex.quote(listing)})" {asked} 2> /dev/null']


def _cargo_questions(manifests: tuple[str, ...]) -> list[str]:
    if sum(PurePosixPath(path).name == "Cargo.toml" for path in manifests) < 2:
        return []
    return [f'{_CARGO} | while read -r path; do printf "{_MARK}\\t%s\\t%s\\n" "$path" "$path"; done']
