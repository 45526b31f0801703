"""The folders of a checkout that git does not track and that checks need: dependencies, builds, generated files.

| kind         | examples                                | in a worktree                                     |
|--------------|-----------------------------------------|---------------------------------------------------|
| dependencies | `.venv`, `node_modules`, `vendor`       | mounted read-only at their places                 |
| build        | `target`, `build`, `.gradle`            | its own, started with a copy (`build_caches.py`)  |
| generated    | `_version.py`, compiled extensions      | copied when the worktree is made                  |

Everything else that is untracked stays out, such as `.env` files and work in progress.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.environment.credentials import credential_files
from actors.environment.toolchains import is_virtual_environment
from actors.git.command import Git
from actors.sandbox.policy import Mount

_DEPENDENCIES = frozenset(
    {".venv", "venv", "node_modules", "bower_components", "__pypackages__", ".bundle", "Pods", "elm-stuff"}
)
_DEPENDENCY_PATHS = re.compile(r"(.*/)?(\.yarn/(cache|unplugged)|[^/]+\.egg-info)")
# Names that are also used for sources. Like build folders, they count only if git ignores them.
_IF_IGNORED = frozenset({"vendor", "deps", "third_party"})
_BUILD = frozenset({"target", "build", ".gradle", "_build", ".build", "dist", "obj", "out"})
_GENERATED = re.compile(r"_version\.py|version\.py|.+\.(so|pyd|dylib)|\.pnp\.(c?js|loader\.mjs)")
# Tools write into these although the rest of `node_modules` may be read-only.
_WRITABLE_IN_NODE_MODULES = (".cache", ".vite", ".vite-temp", ".vitest", ".tmp")
MANIFESTS = (
    *("pyproject.toml", "setup.py", "setup.cfg", "requirements*.txt", "uv.lock", "poetry.lock", "pdm.lock"),
    *("Pipfile", "Pipfile.lock", ".python-version", ".tool-versions", "environment.yml"),
    *("package.json", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml"),
    *("pnpm-workspace.yaml", "bun.lock", "bun.lockb", "deno.json", "deno.jsonc", "deno.lock", ".nvmrc"),
    *("go.mod", "go.sum", "go.work", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "rust-toolchain"),
    *(
        "pom.xml",
        "build.gradle",
        "build.gradle.kts",
        "settings.gradle",
        "settings.gradle.kts",
        "gradle.lockfile",
    ),
    *("gradle-wrapper.properties", "Gemfile", "Gemfile.lock", "composer.json", "composer.lock", "build.zig"),
    *("mix.exs", "mix.lock", "*.csproj", "*.sln", "packages.lock.json"),
)
_MAX_MANIFESTS = 2000
_MAX_FOLDERS = 200
_MAX_GENERATED = 500


@dataclass(frozen=True, slots=True)
class CheckoutFolders:
    """The folders found. `mounts` are the dependency folders, plus the writable and hidden paths inside them.

    `environments` are the virtual environments among them (absolute). `build` and `generated` are paths
    relative to the checkout. `manifests` are the files that name dependencies or settings of a build.
    """

    mounts: tuple[Mount, ...] = ()
    environments: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    generated: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CheckoutFolders:
        """The folders of which JSON holds `dataclasses.asdict`. Raises KeyError or TypeError."""
        return cls(
            mounts=tuple(Mount(**mount) for mount in value["mounts"]),
            environments=tuple(value["environments"]),
            build=tuple(value["build"]),
            generated=tuple(value["generated"]),
            manifests=tuple(value["manifests"]),
        )


def find_folders(checkout: Path, empty_file: Path, git: Git) -> CheckoutFolders:
    """Look through the untracked entries of the checkout. `empty_file` is shown in place of credentials.

    `git` runs in the checkout. Raises GitError.
    """
    answer = git.run("ls-files", "--others", "--directory", "--no-empty-directory", "-z", timeout_s=120)
    entries = [entry for entry in answer.split("\0") if entry]
    folders = [name for name in (entry.rstrip("/") for entry in entries) if (checkout / name).is_dir()]
    unsure = [name for name in folders if Path(name).name in _IF_IGNORED | _BUILD]
    ignored = _ignored(git, unsure)
    dependencies = [name for name in folders if _is_dependency(checkout / name, name, ignored)][:_MAX_FOLDERS]
    return CheckoutFolders(
        mounts=tuple(
            mount
            for name in dependencies
            for mount in dependency_mounts((checkout / name).resolve(), str(checkout / name), empty_file)
        ),
        environments=tuple(str(checkout / n) for n in dependencies if is_virtual_environment(checkout / n)),
        build=tuple(n for n in folders if Path(n).name in _BUILD and n in ignored),
        generated=tuple(
            entry
            for entry in entries
            if _GENERATED.fullmatch(Path(entry).name) and (checkout / entry).is_file()
        )[:_MAX_GENERATED],
        manifests=find_manifests(git),
    )


def find_manifests(git: Git) -> tuple[str, ...]:
    """The manifests and lockfiles in `git`'s working tree that it does not ignore, as relative paths."""
    patterns = [f":(glob)**/{name}" for name in MANIFESTS]
    answer = git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns)
    return tuple(sorted({path for path in answer.split("\0") if path})[:_MAX_MANIFESTS])


def _ignored(git: Git, names: list[str]) -> frozenset[str]:
    if not names:
        return frozenset()
    # check-ignore exits with 1 if none of the paths is ignored.
    answer = git.attempt("check-ignore", "-z", "--stdin", stdin="\0".join(names) + "\0")
    return frozenset(answer.stdout.split("\0"))


def _is_dependency(folder: Path, name: str, ignored: frozenset[str]) -> bool:
    return (
        folder.name in _DEPENDENCIES
        or _DEPENDENCY_PATHS.fullmatch(name) is not None
        or (folder.name in _IF_IGNORED and name in ignored)
        or is_virtual_environment(folder)
    )


def dependency_mounts(source: Path, target: str, empty_file: Path) -> list[Mount]:
    """The folder `source` read-only at `target`, then what is writable or hidden in it."""
    mounts = [Mount(str(source), target)]
    is_node = target.endswith("/node_modules")
    if is_node:
        writable = [name for name in _WRITABLE_IN_NODE_MODULES if (source / name).is_dir()]
        mounts += [Mount("", f"{target}/{name}", "scratch") for name in writable]
    # A look into each package would take seconds, and no tool keeps credentials there.
    for path in credential_files([str(source)], depth=0 if is_node else 1):
        mounts.append(Mount(str(empty_file), target + path.removeprefix(str(source)), "hidden"))
    return mounts


def linked_folders(mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    """Mounts that show dependency folders also where they really are, for those that are symbolic links."""
    return tuple(
        Mount(mount.source, mount.source)
        for mount in mounts
        if mount.kind == "read_only" and mount.source != mount.target
    )
