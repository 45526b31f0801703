"""The environment of one project: found when it is deployed, kept in the store, turned into a sandbox policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from actors.environment.build_caches import needed_caches, prepare_cache, warm_worktree
from actors.environment.folders import CheckoutFolders, find_folders, linked_folders
from actors.environment.python_imports import python_sources
from actors.environment.setup.units import SetupUnit, find_units
from actors.environment.toolchains import Toolchains, find_toolchains
from actors.git.command import Git
from actors.git.delete import delete_tree
from actors.home import file_name
from actors.sandbox.choose import choose
from actors.sandbox.policy import Mount, Sandbox, SandboxPolicy, Workplace
from store import facts
from store.engine import Store, Transaction

EMPTY_FILE = "empty"
# Without the network, tools must use what is installed, and not try to fetch or synchronise anything.
_OFFLINE = {"UV_NO_SYNC": "1", "UV_OFFLINE": "1", "CARGO_NET_OFFLINE": "true", "GOPROXY": "off"}


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment in which the commands of a project run. Plain data; `as_json` and `from_json` are inverse.

    `checkout` is the top folder of the user's working tree. `folder` is the crew's folder for this project, with
    caches and installed dependencies. `caches` are pairs of a variable and the user's cache folder to copy from ("":
    start empty).
    `copied` are pairs of a path in a worktree and what is copied there if it is missing (see `build_caches.py`).
    `units` is the set-up of the base commit, from the spec's `setup_commands` or the files of the repository.
    """

    checkout: str
    folder: str
    toolchains: Toolchains
    folders: CheckoutFolders
    caches: tuple[tuple[str, str], ...] = ()
    copied: tuple[tuple[str, str], ...] = ()
    setup_commands: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    units: tuple[SetupUnit, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """A value that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Environment:
        """The environment that `as_json` gave. Raises KeyError or TypeError for anything else."""
        return cls(
            checkout=value["checkout"],
            folder=value["folder"],
            toolchains=Toolchains.from_json(value["toolchains"]),
            folders=CheckoutFolders.from_json(value["folders"]),
            caches=tuple((variable, original) for variable, original in value["caches"]),
            copied=tuple((path, source) for path, source in value["copied"]),
            setup_commands=tuple(value["setup_commands"]),
            checks=tuple(value["checks"]),
            units=tuple(SetupUnit.from_json(unit) for unit in value["units"]),
        )

    def policy(self, base: SandboxPolicy) -> SandboxPolicy:
        """`base` with the project's toolchains and dependencies, and worktrees shown at the checkout's path."""
        empty = f"{self.folder}/{EMPTY_FILE}"
        mounts = [Mount(path, path) for path in self.toolchains.folders]
        mounts += [Mount(empty, path, "hidden") for path in self.toolchains.hidden]
        variables = dict(base.variables) | dict(self.toolchains.variables)
        variables |= dict(self.toolchains.registry_variables) if base.network else _OFFLINE
        return replace(
            base,
            search_path=self.toolchains.path,
            variables=tuple(variables.items()),
            mounts=(*base.mounts, *mounts, *linked_folders(self.folders.mounts)),
            workplace=Workplace(self.checkout, self.folders.mounts),
        )

    def policy_in_place(self, base: SandboxPolicy, worktree: Path) -> SandboxPolicy:
        """As `policy`, for a worktree that can only be shown at its own path.

        Nothing of the checkout is used: its virtual environments and links lead to its own sources. Python finds
        the worktree's sources before any installed package.
        """
        policy = self.policy(base)
        variables = dict(policy.variables)
        if Path(variables.get("VIRTUAL_ENV", "/")).is_relative_to(self.checkout):
            del variables["VIRTUAL_ENV"]
        sources = python_sources(worktree, self.folders.manifests)
        if sources:
            variables["PYTHONPATH"] = ":".join(sources)
        outside = (entry for entry in policy.search_path if not Path(entry).is_relative_to(self.checkout))
        return replace(policy, search_path=tuple(outside), variables=tuple(variables.items()), workplace=None)

    def warm(self, worktree: Path, *, in_place: bool = False) -> None:
        """Give a worktree copies of the build folders and generated files that it lacks.

        `in_place`: also of the dependency folders, which cannot be mounted. Links in them that are relative lead
        into the worktree. Virtual environments have absolute paths, so they are not copied.
        """
        copies = list(self.copied)
        if in_place:
            top = f"{self.checkout}/"
            copies += [
                (mount.target.removeprefix(top), mount.source)
                for mount in self.folders.mounts
                if mount.kind == "read_only" and mount.target not in self.folders.environments
            ]
        warm_worktree(worktree, copies)


def can_move_worktrees(base: SandboxPolicy, *, unsafe: bool) -> bool:
    """Whether the sandbox can show a worktree at another path: only bubblewrap can. Raises SandboxUnavailable."""
    return choose(base, unsafe=unsafe, probe=False).mode == "bubblewrap"


def project_sandbox(
    environment: Environment | None,
    base: SandboxPolicy,
    worktree: Path,
    *,
    user: str,
    unsafe: bool = False,
) -> Sandbox:
    """The sandbox for a project's commands in a worktree, which also gets the build folders that it lacks.

    - `environment` is None for a project that was deployed without one; then `base` alone counts.
    - `user` is an agent's name, or the gate's: each has its own build caches.

    Raises SandboxUnavailable, OSError.
    """
    if environment is None:
        return choose(base, unsafe=unsafe, probe=False)
    moves = can_move_worktrees(base, unsafe=unsafe)
    environment.warm(worktree, in_place=not moves)
    policy = environment.policy(base) if moves else environment.policy_in_place(base, worktree)
    return choose(_with_caches(environment, policy, user), unsafe=unsafe, probe=False)


def drop_caches(environment: Environment, user: str) -> None:
    """Delete the build caches of an agent or the gate: the next `project_sandbox` makes fresh copies."""
    delete_tree(_caches_of(environment, user))


def _caches_of(environment: Environment, user: str) -> Path:
    return Path(environment.folder) / "caches" / f"of-{file_name(user)}"


def _with_caches(environment: Environment, policy: SandboxPolicy, user: str) -> SandboxPolicy:
    variables, mounts = list(policy.variables), list(policy.mounts)
    for variable, original in environment.caches:
        folder = _caches_of(environment, user) / variable
        prepare_cache(folder, original)
        mounts.append(Mount(str(folder), str(folder), "writable"))
        variables.append((variable, str(folder)))
    return replace(policy, variables=tuple(variables), mounts=tuple(mounts))


def keep_environment(tx: Transaction, project: str, environment: Environment, *, now: float) -> None:
    """Store the project's environment."""
    facts.put(tx, facts.environment(project), environment.as_json(), now=now)


def kept_environment(store: Store, project: str) -> Environment | None:
    """The project's stored environment; None if it was deployed without one."""
    value = facts.get(store, facts.environment(project))
    return None if value is None else Environment.from_json(value)


def find_environment(
    environ: Mapping[str, str],
    checkout: Path,
    folder: Path,
    *,
    setup_commands: Sequence[str] = (),
    checks: Sequence[str] = (),
) -> Environment:
    """The environment of the shell with the variables `environ` for the checkout. Makes the crew's `folder`.

    `setup_commands` are those of the spec. Called by the process that deploys. Raises GitError, OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    empty = folder / EMPTY_FILE
    empty.touch(mode=0o400)
    folders = find_folders(checkout, empty, Git(checkout))
    environments = [Path(path) for path in folders.environments]
    units = find_units(checkout, folders.manifests, spec_commands=setup_commands, checks=checks)
    return Environment(
        checkout=str(checkout),
        folder=str(folder),
        toolchains=find_toolchains(environ, checkout, environments),
        folders=folders,
        copied=tuple((path, str(checkout / path)) for path in (*folders.build, *folders.generated)),
        caches=needed_caches(environ, checkout, (Path(path).name for path in folders.manifests)),
        setup_commands=tuple(setup_commands),
        checks=tuple(checks),
        units=units,
    )
