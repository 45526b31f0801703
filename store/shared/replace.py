"""Write a file in one step."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def replace_file(path: Path, content: bytes | str, *, durable: bool = False) -> None:
    """Write `content` (text as UTF-8) to `path`, so that a reader sees the old content or the new, never a part.

    Several processes may do so at the same time; the last one wins. The file's mode becomes 0600. With `durable` the
    new content also survives a power failure. Raises OSError; the old content then remains.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(3).hex()}.draft")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(draft, flags, 0o600), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    if durable:
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
