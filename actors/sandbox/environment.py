"""The commands' environment: an allow-list, nothing inherited by default that could hold a secret."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

PRIVATE_HOME = "/home/agent"
INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "LANGUAGE", "TZ")
SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

FIXED = {
    "TERM": "dumb",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "true",
    "GIT_TERMINAL_PROMPT": "0",
    # `.git` is read-only: without this every `git status` would try to refresh the index.
    "GIT_OPTIONAL_LOCKS": "0",
    # No `__pycache__` in worktrees, whole output when a command is killed.
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}


def base_python() -> str:
    """The interpreter under the virtualenv: it starts without reading site-packages."""
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return str(base.resolve()) if base.exists() else sys.executable


def command_environment(
    environ: Mapping[str, str], extra_names: Iterable[str], path: str, home: str
) -> dict[str, str]:
    """The whole environment of a command, made from the host's `environ`."""
    kept = {name: environ[name] for name in (*INHERITED, *extra_names) if name in environ}
    return {"LANG": "C.UTF-8", **kept, **FIXED, "PATH": path, "HOME": home, "TMPDIR": "/tmp"}


def search_path(host_path: str, toolchains: Iterable[Path], interpreter: Iterable[Path]) -> str:
    """PATH inside: the host's entries that are visible there, the user's toolchains first.

    The interpreter's own folders come before the system's, so that `python` and `pytest` are the ones the
    crew was installed with unless the user's toolchains bring others. Entries that lead nowhere are dropped.
    """
    roots = tuple(toolchains)
    entries = [Path(entry) for entry in host_path.split(":") if entry.startswith("/")]
    own = [e for e in entries if any(e.is_relative_to(r) or e.resolve().is_relative_to(r) for r in roots)]
    system = [
        e for e in entries if e.is_relative_to("/usr") or e.is_relative_to("/opt") or str(e) in SYSTEM_PATH
    ]
    unlisted = [r / "bin" for r in roots if (r / "bin").is_dir()]
    ordered = [*own, *unlisted, *interpreter, *system, *(Path(p) for p in SYSTEM_PATH)]
    return ":".join(dict.fromkeys(str(entry) for entry in ordered))
