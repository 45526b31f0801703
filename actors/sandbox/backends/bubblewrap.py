"""bubblewrap's command line: system folders read-only, one worktree, everything else private and empty.

Why it is not simpler (each was demonstrated):

- `--ro-bind / /` leaves Unix sockets reachable: a command ran code on the host through tmux's.
- Run by root, bubblewrap 0.8 leaves /proc/sys writable: a command set the host's core_pattern. Hence the
  read-only remount of /proc.
- `--disable-userns` needs `--unshare-user`.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from actors.sandbox.backends.workplace import mount_arguments, workplace_arguments
from actors.sandbox.environment import PRIVATE_HOME
from actors.sandbox.git_paths import git_paths
from actors.sandbox.policy import Sandbox, SandboxPolicy, View

_ROOTS = ("/usr", "/opt", "/nix/store", "/gnu/store")
_ROOTS_OR_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")


def fixed_arguments(policy: SandboxPolicy, version: tuple[int, int]) -> tuple[str, ...]:
    """The arguments that are the same for all commands. `version` is bubblewrap's, as (major, minor)."""
    arguments = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if version >= (0, 8):
        arguments.append("--disable-userns")
    if not policy.network:
        arguments.append("--unshare-net")
    # --new-session: without it a command could type into the terminal that started the crew (TIOCSTI).
    arguments += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    for root in _ROOTS:
        arguments += ["--ro-bind-try", root, root]
    arguments += _system_links()
    arguments += ["--ro-bind", "/etc", "/etc", *_resolver(policy)]
    arguments += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"]
    for folder in ("/dev/shm", "/tmp", "/home", *(["/root"] if os.getuid() == 0 else [])):
        arguments += [*_size(policy.memory_bytes // 2, version), "--tmpfs", folder]
    # Use plain folders for /run and /root, because a mount takes 0.1 ms per command.
    arguments += ["--dir", "/run", "--dir", "/root", "--symlink", "/tmp", "/var/tmp", "--dir", PRIVATE_HOME]
    return tuple(arguments)


def view_arguments(sandbox: Sandbox, view: View) -> list[str]:
    """The arguments of one command, after the fixed ones: covers, toolchains, worktree, git folders, cwd.

    Paths are checked anew for each command: bubblewrap fails if a mount point is missing, which an upgrade of
    the system may have removed.
    """
    arguments = _covers(sandbox.covered)
    for tools in sandbox.toolchains:
        arguments += ["--ro-bind-try", tools, tools]
    arguments += mount_arguments(sandbox.policy.mounts)
    folder, workplace = "/tmp", sandbox.policy.workplace
    if view.worktree is not None:
        worktree = view.worktree.resolve()
        if workplace is None:
            folder, shown = str(worktree), _worktree_arguments(worktree, writable=view.writable)
        else:
            folder, shown = workplace.path, workplace_arguments(worktree, workplace, writable=view.writable)
        arguments += shown
    arguments += _read_only(path.resolve() for path in view.read_only)
    # The root is bubblewrap's own tmpfs: writing a file to / must fail instead of losing the file silently.
    return [*arguments, "--remount-ro", "/", "--chdir", folder]


def _worktree_arguments(worktree: Path, *, writable: bool) -> list[str]:
    protected = git_paths(worktree)
    outside = [p for p in protected if not p.is_relative_to(worktree)]
    inside = [p for p in protected if p.is_relative_to(worktree)]
    bind = "--bind" if writable else "--ro-bind"
    return [*_read_only(outside), bind, str(worktree), str(worktree), *_read_only(inside)]


def _covers(paths: Iterable[str]) -> list[str]:
    arguments: list[str] = []
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112 - a dozen calls per command; pathlib is slower
            arguments += ["--tmpfs", path]
        elif os.path.lexists(path):
            arguments += ["--ro-bind", "/dev/null", path]
    return arguments


def system_roots() -> tuple[str, ...]:
    """Those visible roots that are folders on this machine, not symbolic links."""
    return tuple(p for p in (*_ROOTS, *_ROOTS_OR_LINKS) if Path(p).is_dir() and not Path(p).is_symlink())


def toolchains(policy: SandboxPolicy) -> tuple[Path, ...]:
    """The policy's read-only folders, and the crew's Python if commands use it and it would otherwise be hidden."""
    interpreter = [p for p in interpreter_prefixes() if not policy.search_path and not _is_visible(p)]
    given = [path.expanduser().absolute() for path in policy.read_only_paths]
    return tuple(dict.fromkeys([*interpreter, *given]))


def interpreter_prefixes() -> tuple[Path, ...]:
    """The folders of the virtualenv (if any) and of its base Python installation."""
    base = Path(sys.base_prefix)
    # Include the base installation's path and its symlink target: the virtualenv may refer to either.
    return tuple(dict.fromkeys((Path(sys.prefix), base, base.resolve())))


def _is_visible(path: Path) -> bool:
    return any(path.is_relative_to(root) for root in (*_ROOTS, *_ROOTS_OR_LINKS))


def covered_paths(policy: SandboxPolicy, home: Path) -> tuple[str, ...]:
    """Paths to hide although a visible root contains them, such as a service user's home below /opt."""
    hidden = [path.expanduser().resolve() for path in (home, *policy.hidden_paths)]
    below = [str(path) for path in hidden if _is_visible(path) and str(path) not in _ROOTS]
    return (*dict.fromkeys(below), *_private_settings())


def _private_settings() -> list[str]:
    """As root: the entries of /etc that not everyone may read (password hashes, keys). Otherwise none."""
    found: list[str] = []
    for folder, names, files in os.walk("/etc") if os.getuid() == 0 else ():
        for name in [*names, *files]:
            path = os.path.join(folder, name)  # noqa: PTH118 - thousands of calls at every start; pathlib is slower
            mode = os.lstat(path).st_mode
            if (stat.S_ISDIR(mode) and not mode & 0o005) or (stat.S_ISREG(mode) and not mode & 0o004):
                found.append(path)
                if name in names:
                    names.remove(name)
    return found


def _resolver(policy: SandboxPolicy) -> list[str]:
    """/etc/resolv.conf is often a symbolic link into /run, which is empty inside: show its target."""
    real = Path("/etc/resolv.conf").resolve()
    if not policy.network or real.is_relative_to("/etc"):
        return []
    return ["--ro-bind-try", str(real), str(real)]


def _system_links() -> list[str]:
    arguments: list[str] = []
    for path in _ROOTS_OR_LINKS:
        if Path(path).is_symlink():
            arguments += ["--symlink", str(Path(path).readlink()), path]
        elif Path(path).is_dir():
            arguments += ["--ro-bind", path, path]
    return arguments


def _size(limit_bytes: int, version: tuple[int, int]) -> list[str]:
    return ["--size", str(limit_bytes)] if version >= (0, 7) else []


def _read_only(paths: Iterable[Path]) -> list[str]:
    return [word for path in paths for word in ("--ro-bind", os.fspath(path), os.fspath(path))]
