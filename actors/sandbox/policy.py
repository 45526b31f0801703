"""The rules for commands: visible files, network and limits. Plain data, read once from the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Only a policy can be "auto" (use the strongest sandbox that works here); a `Sandbox` never is.
Mode = Literal["auto", "bubblewrap", "landlock", "seatbelt", "unsafe"]

MIB = 1024 * 1024
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Mount:
    """A path that commands see at `target`, which may not exist on the host.

    - `read_only` and `writable` show the host's `source` there; it is left out if `source` does not exist.
    - `scratch` is an empty folder in memory, new for each command; `source` is not used.
    - `hidden` shows an empty file in place of an existing one; `source` is the empty file.
    """

    source: str
    target: str
    kind: Literal["read_only", "writable", "scratch", "hidden"] = "read_only"


@dataclass(frozen=True, slots=True)
class Workplace:
    """The folder at which bubblewrap shows a worktree: the user's checkout, so that its absolute paths hold.

    `mounts` lie below `path`: the checkout's dependency folders. One is left out if its parent folder is
    missing in the worktree or is a symbolic link.
    """

    path: str
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True, slots=True)
class SandboxPolicy:
    """The requested rules for all commands of a crew.

    - `read_only_paths`: toolchains below a hidden folder (`~/.pyenv`, `~/.cargo/bin`, a virtualenv). Their
      `bin` folders come first on PATH.
    - `hidden_paths`: hidden even below a visible root such as /opt. The crew's home is one.
    - `environment`: names of further variables that commands inherit. `variables`: set for all commands.
    - `search_path`: PATH instead of the host's. The Python that runs the crew is then not shown.
    - `mounts`: toolchains and caches, shown before the worktree. `workplace`: see class `Workplace`.
    - `unix_sockets`: commands may make Unix sockets among themselves (multiprocessing's forkserver needs it).
      Host sockets stay hidden. Refused together with `network`: the host's abstract sockets would be
      reachable.
    - `max_file_bytes` limits each file that a command writes; `max_spill_bytes` the stored copy of its output.
    """

    mode: Mode = "auto"
    network: bool = False
    unix_sockets: bool = False
    read_only_paths: tuple[Path, ...] = ()
    hidden_paths: tuple[Path, ...] = ()
    environment: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    search_path: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    workplace: Workplace | None = None
    memory_bytes: int = 4 * GIB
    max_processes: int = 512
    max_output_bytes: int = 1 * GIB
    max_file_bytes: int = 4 * GIB
    max_spill_bytes: int = 8 * MIB


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A policy that works on this machine, with everything computed that is the same for all commands.

    Made by `choose()`. Plain data, so a child process can inherit or unpickle it.

    - `launcher`: the program that confines; None means that commands run unconfined.
    - `arguments`: bubblewrap's fixed arguments, or for Landlock the paths that commands may read.
    - `covered`: paths hidden below visible roots. `toolchains`: paths shown below hidden ones.
    - `environment`: all variables of every command.
    """

    policy: SandboxPolicy
    launcher: str | None
    arguments: tuple[str, ...]
    covered: tuple[str, ...]
    toolchains: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    shell: str
    mode: Mode = "bubblewrap"
    landlock_version: int = 0

    @property
    def confines(self) -> bool:
        """Whether commands are confined; False only with `--unsafe` or `[sandbox] mode = "off"`."""
        return self.launcher is not None

    @property
    def workplace(self) -> Workplace | None:
        """Where commands see their worktree; None if at its own path. Only bubblewrap can move it."""
        return self.policy.workplace if self.confines and self.mode == "bubblewrap" else None


@dataclass(frozen=True, slots=True)
class View:
    """The crew's files that one command sees: its worktree (None: no files) and paths it may only read."""

    worktree: Path | None
    writable: bool = True
    read_only: tuple[Path, ...] = ()
