"""The environment of one project: found when it is deployed, kept in the store, turned into a sandbox policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from actors.environment.folders import CheckoutFolders, find_folders, linked_folders
from actors.environment.toolchains import Toolchains, find_toolchains
from actors.sandbox.policy import Mount, SandboxPolicy, Workplace

_EMPTY_FILE = "empty"


@dataclass(frozen=True, slots=True)
class Environment:
    """What the commands of a project run with. Plain data; `as_json` and `from_json` are inverse.

    `checkout` is the top folder of the user's working tree. `folder` is the crew's own for this project: caches,
    and what set-up installs.
    """

    checkout: str
    folder: str
    toolchains: Toolchains
    folders: CheckoutFolders

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
        )

    def policy(self, base: SandboxPolicy) -> SandboxPolicy:
        """`base` with the project's toolchains and dependencies, and its worktrees shown at the checkout's path."""
        empty = f"{self.folder}/{_EMPTY_FILE}"
        mounts = [Mount(path, path) for path in self.toolchains.folders]
        mounts += [Mount(empty, path, "hidden") for path in self.toolchains.hidden]
        variables = dict(base.variables) | dict(self.toolchains.variables)
        if base.network:
            variables |= dict(self.toolchains.registry_variables)
        return replace(
            base,
            search_path=self.toolchains.path,
            variables=tuple(variables.items()),
            mounts=(*base.mounts, *mounts, *linked_folders(self.folders.mounts)),
            workplace=Workplace(self.checkout, self.folders.mounts),
        )


def find_environment(environ: Mapping[str, str], checkout: Path, folder: Path) -> Environment:
    """The environment of the shell with the variables `environ` for the checkout. Makes the crew's `folder`.

    Called by the process that deploys. Raises GitError, OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    empty = folder / _EMPTY_FILE
    empty.touch(mode=0o400)
    folders = find_folders(checkout, empty)
    environments = [Path(path) for path in folders.environments]
    return Environment(
        checkout=str(checkout),
        folder=str(folder),
        toolchains=find_toolchains(environ, checkout, environments),
        folders=folders,
    )
