"""Fake executables of a service manager or a sleep inhibitor, which log their arguments."""

from __future__ import annotations

from pathlib import Path


def install(folder: Path, name: str, *, script: str = "exit 0") -> Path:
    """Create an executable `name` in `folder` that appends its arguments to NAME.log, then runs `script` (sh).

    Returns the log's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    program = folder / name
    program.write_text(f'#!/bin/sh\necho "$*" >> {log}\n{script}\n')
    program.chmod(0o755)
    return log
