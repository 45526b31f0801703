"""What commands may see, reach and use up: plain data, read once from the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# "auto" is the wish for the best that the machine can keep; a `Sandbox` is never "auto".
Mode = Literal["auto", "bubblewrap", "landlock", "seatbelt", "unsafe"]

MIB = 1024 * 1024
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class SandboxPolicy:
    """The wishes for all commands of a crew.

    `read_only_paths` are toolchains below a hidden folder (`~/.pyenv`, `~/.cargo/bin`, a virtualenv); their
    `bin` folders come first on PATH. `hidden_paths` (the crew's home) are covered even where they lie below a
    visible root such as /opt. `environment` names further variables that commands may see. `unix_sockets`
    lets commands make Unix sockets among themselves (multiprocessing's forkserver wants it); the host's stay
    invisible, and together with `network` it is refused, as abstract ones would then be reachable.
    """

    mode: Mode = "auto"
    network: bool = False
    unix_sockets: bool = False
    read_only_paths: tuple[Path, ...] = ()
    hidden_paths: tuple[Path, ...] = ()
    environment: tuple[str, ...] = ()
    memory_bytes: int = 4 * GIB
    max_processes: int = 512
    max_output_bytes: int = 1 * GIB
    max_file_bytes: int = 4 * GIB
    max_spill_bytes: int = 8 * MIB


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A policy that this machine can keep, with everything that is the same for all commands worked out.

    Made by `choose()`; plain data, so it can be handed to a forked or spawned child. `arguments` are
    bubblewrap's fixed ones (for Landlock: what may be read), `covered` paths hidden below visible roots,
    `toolchains` shown below hidden ones. `environment` is the commands' whole one.
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
        """Whether commands are held at all; False only after an explicit `--unsafe`."""
        return self.launcher is not None


@dataclass(frozen=True, slots=True)
class View:
    """What one command sees of the crew's files: its worktree (None: no files), and what it may only read."""

    worktree: Path | None
    writable: bool = True
    read_only: tuple[Path, ...] = ()
