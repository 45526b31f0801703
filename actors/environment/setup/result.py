"""What a set-up unit did, and an environment that uses what it made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actors.environment.project import Environment
from actors.errors import ActorError
from actors.sandbox.policy import Mount


@dataclass(frozen=True, slots=True)
class SetupResult:
    """What one unit did. `needed` is False if everything was there already, so nothing was run.

    - `exit_code` is None if the command was killed, for example at its time limit. `output` is its end.
    - `mounts` show what it made at the checkout's path. `variables` and `folders` (shown read-only) make tools
      find its caches. `copied` are pairs of a relative path and the file or folder that worktrees get a copy of.
    - `path`: folders of programs, where what was made cannot be mounted at the checkout's path.
    """

    key: str
    name: str
    command: str
    needed: bool
    exit_code: int | None = 0
    duration_s: float = 0.0
    output: str = ""
    mounts: tuple[Mount, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    folders: tuple[str, ...] = ()
    copied: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SetupResult:
        """The result of which JSON holds `dataclasses.asdict`. Raises KeyError or TypeError."""
        return cls(
            **{
                **value,
                "mounts": tuple(Mount(**mount) for mount in value["mounts"]),
                "variables": tuple((name, text) for name, text in value["variables"]),
                "folders": tuple(value["folders"]),
                "path": tuple(value["path"]),
                "copied": tuple((path, source) for path, source in value["copied"]),
            }
        )


class SetupFailed(ActorError):
    """Dependencies that a task changed cannot be installed. `result` has the command and its output."""

    def __init__(self, result: SetupResult) -> None:
        super().__init__(f"set-up failed: {result.name}: `{result.command}`")
        self.result = result


def with_setup(environment: Environment, results: Sequence[SetupResult]) -> Environment:
    """The environment with what set-up made: it replaces what the checkout has at the same places."""
    # In reverse: the programs of the first unit, of the top folder, come first on PATH.
    for result in reversed(results):
        targets = {mount.target for mount in result.mounts}
        kept = tuple(m for m in environment.folders.mounts if not is_below(m.target, targets))
        tools = environment.toolchains
        bins = [f"{m.target}/bin" for m in result.mounts if (Path(m.source) / "pyvenv.cfg").is_file()]
        path = tuple(dict.fromkeys([*result.path, *bins, *tools.path]))
        # A cache that everyone has a copy of: set-up made the original.
        caches = tuple((name, dict(result.variables).get(name, old)) for name, old in environment.caches)
        added = {name: text for name, text in result.variables if name not in dict(caches)}
        variables = dict(tools.variables) | added
        if bins or result.path:
            variables.pop("VIRTUAL_ENV", None)
        environment = replace(
            environment,
            folders=replace(environment.folders, mounts=(*kept, *result.mounts)),
            toolchains=replace(
                tools,
                path=path,
                folders=tuple(dict.fromkeys([*tools.folders, *result.folders])),
                variables=tuple(variables.items()),
            ),
            caches=caches,
            copied=(*environment.copied, *result.copied),
        )
    return environment


def is_below(path: str, folders: set[str]) -> bool:
    """Whether the path is one of the folders or lies in one."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
