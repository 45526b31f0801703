"""Landlock: confines commands by kernel rules, for machines where bubblewrap's namespaces are not allowed.

Files are an allow-list as with bubblewrap. seccomp refuses Unix sockets, and all sockets if the policy allows
no network. All processes end with their launcher (`launch/confine.py`). Differences from bubblewrap:

- Rules can only add rights, so nothing below a granted folder can be excepted. Therefore the worktree's top
  folder is read-only and its entries are granted one by one, except `.git`. So no command can write, remove,
  rename, replace or link `.git`, but neither can it create, remove or rename other entries of the top folder.
  The file tools can; the next command is granted what they made.
- Commands see names, sizes and times of all files and the command lines of all processes (but not their
  memory, environment or open files). There is no process or IPC namespace. Shared memory, semaphores and
  pseudo-terminals are refused, because granting them would grant the host's.
- Below version 6 (Linux 6.12) commands can send signals to the user's other processes.
- The host's /tmp is closed. TMPDIR and HOME are a private folder on disk, limited only per file.
- Without `network` there is no loopback either. With it, everything is reachable that the machine reaches.

Version 3 (Linux 6.2) is required: older ones cannot forbid truncating any file of the user.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import resource
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from actors.sandbox.backends.bubblewrap import system_roots
from actors.sandbox.backends.seccomp import landlock_filter
from actors.sandbox.git_paths import git_paths
from actors.sandbox.policy import Sandbox, View

LEAST_VERSION = 3
SIGNALS_VERSION = 6
# Escapes that are possible in this mode; the self-test does not require them to be blocked.
KNOWN_OPEN = frozenset({"see_socket", "see_processes"})

_CREATE_RULESET, _ASK_VERSION = 444, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_REMOVE, _MAKE_PLAIN = 1 << 4 | 1 << 5, 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE | _MAKE_PLAIN | _REFER | _TRUNCATE
_DEVICE = _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEVICE
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT, _SCOPE_SIGNAL = 1, 2
_SCRATCH = "nightcrew-command-"
# RLIMIT_NPROC counts all tasks of the user here, so leave room for them. `CommandWatch` is the exact limit.
_TASKS_OF_OTHERS = 4096

# A path, its rights, and whether a missing path is an error.
Rule = tuple[str, int, bool]


def version() -> int:
    """Landlock's version in this kernel; 0 if the kernel lacks it, has it off, or a filter forbids it."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        libc.syscall.restype = ctypes.c_long
        number, null, zero = ctypes.c_long(_CREATE_RULESET), ctypes.c_void_p(None), ctypes.c_long(0)
        return max(0, int(libc.syscall(number, null, zero, ctypes.c_long(_ASK_VERSION))))
    except (AttributeError, OSError):
        return 0


def ruleset(version: int, *, network: bool) -> dict[str, int]:
    """The kinds of access that need a rule, as bit masks of those that `version` knows.

    Keys: `fs` (files), `net` (TCP), `scoped` (abstract sockets, signals), `bytes` (size of the kernel's struct).
    """
    known = (1 << 13) - 1 | _REFER | _TRUNCATE | (_IOCTL_DEVICE if version >= 5 else 0)
    tcp = _BIND_TCP | _CONNECT_TCP if version >= 4 and not network else 0
    scoped = _SCOPE_ABSTRACT | _SCOPE_SIGNAL if version >= SIGNALS_VERSION else 0
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    return {"fs": known, "net": tcp, "scoped": scoped, "bytes": size}


def fixed_grants(covered: Iterable[str], toolchains: Iterable[str], *, network: bool) -> tuple[str, ...]:
    """Paths that all commands may read: the system's folders without what is hidden, and the toolchains."""
    hidden = frozenset(covered)
    roots = [*system_roots(), "/etc"]
    granted = [path for root in roots for path in _all_but(root, hidden)]
    resolver = [os.path.realpath("/etc/resolv.conf")] if network else []
    tools = [shown for path in toolchains for shown in _all_but(os.path.realpath(path), hidden)]
    return tuple(dict.fromkeys([*granted, *tools, *resolver]))


def _all_but(path: str, hidden: frozenset[str]) -> list[str]:
    """The path; if it contains hidden ones, its other entries instead, because rules cannot subtract."""
    if path in hidden:
        return []
    if not any(one.startswith(f"{path}/") for one in hidden):
        return [path]
    try:
        with os.scandir(path) as found:
            entries = sorted(entry.path for entry in found if not entry.is_symlink())
    except OSError:
        return []
    return [granted for entry in entries for granted in _all_but(entry, hidden)]


def rules(sandbox: Sandbox, view: View, scratch: Path) -> list[Rule]:
    """The rules for one command whose private folder is `scratch`."""
    found: list[Rule] = [(path, _READ, False) for path in (*sandbox.arguments, "/proc")]
    found += [(f"/dev/{name}", _DEVICE, False) for name in _DEVICES]
    found += [(str(path.resolve()), _READ, True) for path in view.read_only]
    found.append((str(scratch.resolve()), _WRITE, True))
    found += [(m.source, _WRITE, False) for m in sandbox.policy.mounts if m.kind == "writable"]
    if view.worktree is not None:
        found += _worktree_rules(view.worktree.resolve(), view)
    known = ruleset(sandbox.landlock_version, network=True)["fs"]
    return [(path, rights & known, required) for path, rights, required in found]


def _worktree_rules(worktree: Path, view: View) -> list[Rule]:
    found: list[Rule] = [(str(path), _READ, False) for path in git_paths(worktree)]
    found.append((str(worktree), _READ, True))
    if not view.writable:
        return found
    with os.scandir(worktree) as entries:
        inside = sorted(entry.path for entry in entries if entry.name != ".git")
    kept = [*(path.resolve() for path in view.read_only), *git_paths(worktree)]
    return found + [(p, _WRITE, False) for p in inside if not any(k.is_relative_to(p) for k in kept)]


def instructions(
    sandbox: Sandbox,
    words: list[str],
    view: View,
    scratch: Path,
    mark: tuple[str, str],
    settings: Mapping[str, Any],
) -> bytes:
    """The document that `confine.py` reads: everything about one command, marshalled.

    `mark` is a variable (name, value) for the command's environment. `settings` are the launcher's descriptors
    and priorities, copied as they are. Raises OSError, ValueError.
    """
    policy = sandbox.policy
    program = landlock_filter(network=policy.network)
    if program is None:
        raise ValueError("the system calls of this processor are unknown, so they cannot be filtered")
    environment = {**dict(sandbox.environment), "HOME": str(scratch / "home"), "TMPDIR": str(scratch)}
    tasks = policy.max_processes * 4 + _TASKS_OF_OTHERS
    document = {
        **settings,
        "words": words,
        "environment": {**environment, **_caches(scratch), mark[0]: mark[1]},
        "folder": str(view.worktree.resolve() if view.worktree else scratch),
        "ruleset": ruleset(sandbox.landlock_version, network=policy.network),
        "rules": rules(sandbox, view, scratch),
        "seccomp": program.hex(),
        "limits": [
            (resource.RLIMIT_NPROC, tasks),
            (resource.RLIMIT_FSIZE, policy.max_file_bytes),
            (resource.RLIMIT_CORE, 0),
        ],
    }
    return marshal.dumps(document)


def _caches(scratch: Path) -> dict[str, str]:
    """Variables that move common tools' caches out of the worktree's top folder, which is read-only."""
    return {
        "PYTEST_ADDOPTS": f"-o cache_dir={scratch}/pytest",
        "MYPY_CACHE_DIR": f"{scratch}/mypy",
        "RUFF_CACHE_DIR": f"{scratch}/ruff",
        "COVERAGE_FILE": f"{scratch}/coverage",
    }


CACHE_NAMES = ("PYTEST_ADDOPTS", "MYPY_CACHE_DIR", "RUFF_CACHE_DIR", "COVERAGE_FILE")


def make_scratch() -> Path:
    """Create a command's private folder, with its home in it."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-"))
    (scratch / "home").mkdir(mode=0o700)
    return scratch


def remove_scratch(scratch: Path) -> None:
    """Delete the folder, also if the command has removed permissions in it or the folder itself."""
    shutil.rmtree(scratch, ignore_errors=True)
    if scratch.exists():
        for folder, names, _ in os.walk(scratch):
            for name in names:
                path = Path(folder) / name
                with suppress(OSError):
                    if not path.is_symlink():
                        path.chmod(0o700)
        shutil.rmtree(scratch, ignore_errors=True)


def remove_stale_scratches() -> None:
    """Delete the private folders that killed agents left behind."""
    for left in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*-*"):
        pid = left.name.removeprefix(_SCRATCH).split("-")[0]
        with suppress(OSError):
            if pid.isdigit() and not Path(f"/proc/{pid}").exists() and left.stat().st_uid == os.getuid():
                remove_scratch(left)
