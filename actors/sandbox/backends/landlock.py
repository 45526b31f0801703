"""Landlock: confinement for machines where bubblewrap can't run, made of rules instead of namespaces.

Files are an allow-list as with bubblewrap, Unix sockets (and without the network all sockets) are refused by
seccomp, processes end with their launcher (`confine.py`). What is weaker, or in the way:

- Rules only add. A folder that was granted can't have an exception below, so the worktree's top folder itself
  is readable only and what is in it is granted entry by entry, except `.git`. Thus `.git` can't be written,
  removed, renamed, replaced or linked (its folder grants no REMOVE, MAKE or REFER), but commands can't make,
  remove or rename other entries of the top folder either. The file tools can; what they make is granted to
  the next command.
- Names, sizes and times of all files, and the command lines of all processes, can be seen (not their memory,
  environment or open files). There is no process or IPC namespace: no shared memory, no semaphores, no
  pseudo-terminals, since granting them would grant the host's.
- Below version 6 (Linux 6.12) commands may send signals to the user's other processes.
- /tmp is the host's and closed: TMPDIR and HOME name a private folder, on disk and thus bounded by the
  limit on single files only.
- Without the network there is no loopback either. With it, everything that the machine reaches is reachable.

Version 3 (Linux 6.2) is the least: before it, truncating any file of the user was not held.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import resource
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from actors.sandbox.backends.bubblewrap import system_roots
from actors.sandbox.backends.seccomp import landlock_filter
from actors.sandbox.policy import Sandbox, View
from actors.sandbox.repository import git_paths

LEAST_VERSION = 3
SIGNALS_VERSION = 6
# What the self-test finds open in this mode and the policy does not demand.
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
# RLIMIT_NPROC counts all of the user's tasks here, not only the command's: a backstop behind the watcher.
_TASKS_OF_OTHERS = 4096

Rule = tuple[str, int, bool]


def version() -> int:
    """Landlock's version in this kernel; 0 where there is none, or it is switched off or filtered away."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        libc.syscall.restype = ctypes.c_long
        number, null, zero = ctypes.c_long(_CREATE_RULESET), ctypes.c_void_p(None), ctypes.c_long(0)
        return max(0, int(libc.syscall(number, null, zero, ctypes.c_long(_ASK_VERSION))))
    except (AttributeError, OSError):
        return 0


def ruleset(version: int, *, network: bool) -> dict[str, int]:
    """What is forbidden unless a rule allows it, as far as this version knows; `bytes` of the structure."""
    known = (1 << 13) - 1 | _REFER | _TRUNCATE | (_IOCTL_DEVICE if version >= 5 else 0)
    tcp = _BIND_TCP | _CONNECT_TCP if version >= 4 and not network else 0
    scoped = _SCOPE_ABSTRACT | _SCOPE_SIGNAL if version >= SIGNALS_VERSION else 0
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    return {"fs": known, "net": tcp, "scoped": scoped, "bytes": size}


def fixed_grants(covered: Iterable[str], toolchains: Iterable[str], *, network: bool) -> tuple[str, ...]:
    """Paths that all commands may read: the system less what is to be hidden, and the toolchains."""
    hidden = frozenset(covered)
    roots = [*system_roots(), "/etc"]
    granted = [path for root in roots for path in _all_but(root, hidden)]
    resolver = [os.path.realpath("/etc/resolv.conf")] if network else []
    return tuple(dict.fromkeys([*granted, *(os.path.realpath(path) for path in toolchains), *resolver]))


def _all_but(path: str, hidden: frozenset[str]) -> list[str]:
    """The path, or, as rules can't subtract, those of its entries that neither are nor hold hidden ones."""
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
    """Path, rights, and whether it must be there, for one command whose private folder is `scratch`."""
    found: list[Rule] = [(path, _READ, False) for path in (*sandbox.arguments, "/proc")]
    found += [(f"/dev/{name}", _DEVICE, False) for name in _DEVICES]
    found += [(str(path.resolve()), _READ, True) for path in view.read_only]
    found.append((str(scratch.resolve()), _WRITE, True))
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


def orders(
    sandbox: Sandbox, words: list[str], view: View, scratch: Path, mark: tuple[str, str], fds: dict[str, Any]
) -> bytes:
    """The document for `confine.py`. `mark` is a variable by which leftovers can be found; `fds` its pipes."""
    policy = sandbox.policy
    program = landlock_filter(network=policy.network)
    if program is None:
        raise ValueError("no seccomp filter for this machine")
    environment = {**dict(sandbox.environment), "HOME": str(scratch / "home"), "TMPDIR": str(scratch)}
    tasks = policy.max_processes * 4 + _TASKS_OF_OTHERS
    document = {
        **fds,
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
    """Common tools would keep their caches in the worktree's top folder, where nothing new can be made."""
    return {
        "PYTEST_ADDOPTS": f"-o cache_dir={scratch}/pytest",
        "MYPY_CACHE_DIR": f"{scratch}/mypy",
        "RUFF_CACHE_DIR": f"{scratch}/ruff",
        "COVERAGE_FILE": f"{scratch}/coverage",
    }


CACHE_NAMES = ("PYTEST_ADDOPTS", "MYPY_CACHE_DIR", "RUFF_CACHE_DIR", "COVERAGE_FILE")


def make_scratch() -> Path:
    """A command's private folder, with its home in it."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-"))
    (scratch / "home").mkdir(mode=0o700)
    return scratch


def remove_scratch(scratch: Path) -> None:
    """Take it away whatever modes the command has set; harmless if it is gone."""
    shutil.rmtree(scratch, ignore_errors=True)
    if scratch.exists():
        for folder, names, _ in os.walk(scratch):
            for name in names:
                path = Path(folder) / name
                with suppress(OSError):
                    if not path.is_symlink():
                        path.chmod(0o700)
        shutil.rmtree(scratch, ignore_errors=True)


def remove_left_scratches() -> None:
    """Those of killed agents."""
    for left in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*-*"):
        pid = left.name.removeprefix(_SCRATCH).split("-")[0]
        with suppress(OSError):
            if pid.isdigit() and not Path(f"/proc/{pid}").exists() and left.stat().st_uid == os.getuid():
                remove_scratch(left)
