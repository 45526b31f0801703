"""Reading files of a worktree on the host: agents write there, so links, devices and huge files are refused."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

MAX_BYTES = 32 * 1024 * 1024


def read_file(top: Path, name: str) -> bytes | None:
    """The content of the regular file `name` below `top`; None if it is missing, a link, special or too large."""
    folder = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *parents, last = name.split("/")
        for parent in parents:
            inner = os.open(
                parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder
            )
            os.close(folder)
            folder = inner
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        found = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with open(found, "rb") as file:
            status = os.fstat(found)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
                return None
            return file.read(MAX_BYTES)
    except OSError:
        return None
    finally:
        os.close(folder)


def read_toml(top: Path, name: str) -> dict[str, Any]:
    """The document, or an empty one if there is none that can be parsed."""
    try:
        return tomllib.loads((read_file(top, name) or b"").decode())
    except (ValueError, RecursionError):
        return {}


def read_json(top: Path, name: str) -> dict[str, Any]:
    """The object, or an empty one if there is none that can be parsed."""
    try:
        value = json.loads(read_file(top, name) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def table(document: Any, *path: str) -> dict[str, Any]:
    """The table at `path` in a parsed document; empty if anything on the way is missing or no table."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}
