"""The environment variables of commands: an allow-list, so that no secret is inherited by default."""

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
    # No `__pycache__` in worktrees, and no output lost in a buffer when a command is killed.
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}


def base_python() -> str:
    """The interpreter that the virtualenv was made from: it starts without reading site-packages."""
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return str(base.resolve()) if base.exists() else sys.executable


def command_environment(
    environ: Mapping[str, str], extra_names: Iterable[str], path: str, home: str
) -> dict[str, str]:
    """All variables of a command. `environ` is the host's; `extra_names` may be taken from it too."""
    kept = {name: environ[name] for name in (*INHERITED, *extra_names) if name in environ}
    return {"LANG": "C.UTF-8", **kept, **FIXED, "PATH": path, "HOME": home, "TMPDIR": "/tmp"}


def search_path(host_path: str, toolchains: Iterable[Path], interpreter: Iterable[Path]) -> str:
    """PATH inside the sandbox: those entries of the host's PATH that are visible there.

    Order: the user's toolchains, `interpreter` (the `bin` folders of the Python that runs the crew), system folders.
    `python` and `pytest` are thus the crew's own unless a toolchain provides them.
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


def joined_path(entries: Iterable[str], toolchains: Iterable[Path]) -> str:
    """PATH from `entries` in their order, after the `bin` folders of `toolchains`, before the system's."""
    configured = [str(root / "bin") for root in toolchains if (root / "bin").is_dir()]
    return ":".join(dict.fromkeys([*configured, *entries, *SYSTEM_PATH]))
