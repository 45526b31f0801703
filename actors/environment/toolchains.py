"""The toolchains of a shell: what `python3`, `node` or `cargo` mean there, as a value.

PATH decides, in its order. Folders below a hidden place such as the home are shown one by one: a whole
installation (a folder with `bin` and `lib`) where there is one, else only the folder that is on PATH.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.environment.caches import known_folders, plain_variables, registry_variables
from actors.environment.credentials import credential_files
from actors.environment.version_managers import real_folders

# Folders that the sandbox shows to every command.
_VISIBLE = ("/usr", "/opt", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/nix/store", "/gnu/store")
# Never shown as a whole, whatever is on PATH.
_TOO_MUCH = ("/", "/home", "/root", "/tmp", "/run", "/var", "/proc", "/dev", "/sys", "/mnt", "/srv", "/Users")
_MAX_LINKS = 300


@dataclass(frozen=True, slots=True)
class Toolchains:
    """What commands need of the user's shell. Plain data of absolute paths.

    - `path`: PATH, in order. `folders`: shown read-only at their own places.
    - `hidden`: files with credentials in them, shown empty.
    - `variables`: for every command. `registry_variables`: only for those that have the network.
    """

    path: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    registry_variables: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Toolchains:
        """The toolchains of which JSON holds `dataclasses.asdict`. Raises KeyError or TypeError."""
        return cls(
            path=tuple(value["path"]),
            folders=tuple(value["folders"]),
            hidden=tuple(value["hidden"]),
            variables=tuple((name, text) for name, text in value["variables"]),
            registry_variables=tuple((name, text) for name, text in value["registry_variables"]),
        )


def find_toolchains(
    environ: Mapping[str, str], checkout: Path, environments: Iterable[Path] = ()
) -> Toolchains:
    """The toolchains of the shell with the variables `environ`, as they are in the folder `checkout`.

    `environments` are virtual environments in the checkout: the Pythons that they were made from are shown.
    Asks version managers, which takes up to 100 ms each. Our own virtual environment is left out.
    """
    home = Path(environ.get("HOME") or Path.home())
    environ = _without_own(environ)
    entries = _entries(environ, checkout)
    paths, variables = known_folders(environ, home)
    own = {str(home), str(home / ".local"), str(home.resolve())}
    shown = [Path(path) for path in paths]
    for entry in entries:
        shown += _installation(entry, own)
    for environment in (*(entry.parent for entry in entries), *environments):
        shown += _base_python(environment, own)
    hidden_places = [str(path) for path in dict.fromkeys(shown) if _is_needed(path, checkout)]
    folders = _without_nested(hidden_places)
    return Toolchains(
        path=tuple(dict.fromkeys(str(entry) for entry in entries)),
        folders=folders,
        hidden=credential_files(folders),
        variables=tuple(sorted((plain_variables(environ) | variables).items())),
        registry_variables=tuple(sorted(registry_variables(environ).items())),
    )


def _without_own(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables as they were before our own virtual environment was activated, if it was."""
    own = Path(sys.prefix)
    kept = {name: value for name, value in environ.items() if name != "VIRTUAL_ENV" or Path(value) != own}
    entries = [entry for entry in kept.get("PATH", "").split(":") if Path(entry) != own / "bin"]
    return {**kept, "PATH": ":".join(entries)} if sys.prefix != sys.base_prefix else kept


def _entries(environ: Mapping[str, str], checkout: Path) -> list[Path]:
    """PATH with the folders of version managers replaced, after the checkout's own virtual environment.

    That environment comes first although it may not be active: its packages are the project's.
    """
    entries: list[Path] = []
    if not environ.get("VIRTUAL_ENV") and not environ.get("CONDA_PREFIX"):
        entries += [
            checkout / name / "bin" for name in (".venv", "venv") if is_virtual_environment(checkout / name)
        ]
    for text in environ.get("PATH", "").split(":"):
        entry = Path(text)
        # A folder that this user may not read holds no toolchain of theirs.
        if not text.startswith("/") or not os.access(entry, os.R_OK | os.X_OK) or not entry.is_dir():
            continue
        if _is_volatile(entry):
            entry = entry.resolve()  # fnm has a link for each shell, below /run or /tmp
        replaced = real_folders(entry, checkout, environ)
        entries += [entry] if replaced is None else replaced
    return list(dict.fromkeys(entries))


def is_virtual_environment(folder: Path) -> bool:
    """Whether a Python virtual environment that can start is in the folder."""
    return (folder / "pyvenv.cfg").is_file() and (folder / "bin" / "python").exists()


def _is_volatile(path: Path) -> bool:
    return path.is_relative_to("/run") or path.is_relative_to("/tmp")


def _is_needed(path: Path, checkout: Path) -> bool:
    """Whether the sandbox would not show `path` anyway, and it is safe to show."""
    if not os.access(path, os.R_OK) or str(path) in _TOO_MUCH or path.is_relative_to(checkout):
        return False
    # Nothing that contains the checkout: it would show the files that the worktree replaces.
    return not checkout.is_relative_to(path) and not any(path.is_relative_to(root) for root in _VISIBLE)


def _installation(folder: Path, own: set[str]) -> list[Path]:
    """What to show for a folder on PATH, and for the programs that its symbolic links lead to."""
    found = [_prefix(folder, own)]
    if found != [folder] or any(folder.is_relative_to(root) for root in _VISIBLE):
        return found
    try:
        links = [path for path in folder.iterdir() if path.is_symlink()][:_MAX_LINKS]
    except OSError:
        return found
    for link in links:
        target = link.resolve()
        if target.is_file() and not target.is_relative_to(folder):
            prefix = _prefix(target.parent, own)
            found += [prefix if prefix != target.parent else target, *_base_python(prefix, own)]
    return found


def _prefix(folder: Path, own: set[str]) -> Path:
    """The installation that a `bin` folder belongs to, or the folder itself."""
    parent = folder.parent
    if folder.name not in ("bin", "sbin", "Scripts") or str(parent) in own or str(parent) in _TOO_MUCH:
        return folder
    is_installation = (parent / "lib").is_dir() or (parent / "pyvenv.cfg").is_file()
    return parent if is_installation and not (parent / ".git").exists() else folder


def _base_python(environment: Path, own: set[str]) -> list[Path]:
    """The Python that a virtual environment was made from, under its name and where that leads."""
    try:
        text = (environment / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    home = next((value.strip() for name, value in values.items() if name.strip() == "home"), "")
    if not home.startswith("/"):
        return []
    named = _prefix(Path(home), own)
    program = (environment / "bin" / "python").resolve()
    return list(dict.fromkeys([named, named.resolve(), _prefix(program.parent, own)]))


def _without_nested(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths that lie in none of the others, in order."""
    kept = sorted(set(paths))
    return tuple(path for path in kept if not any(path.startswith(f"{other}/") for other in kept))
