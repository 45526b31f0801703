"""Peers live in an environment of their own, made beside the project's on first use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Pinned, so that two runs compare the same; runit is the distribution's package, unpacked, not installed.
PACKAGES = {
    "ray": "ray==2.60.0",
    "supervisord": "supervisor==4.3.0",
    "dbos": "dbos==3.4.0",
    "thespian": "thespian==4.0.1",
    "huey": "huey==3.5.4",
}
INSTALL_PATIENCE_S = 300
RUN_PATIENCE_S = 120
ROOT = Path(__file__).resolve().parents[3]


def folder() -> Path:
    """In the virtual environment that runs this, so that removing that one removes it too."""
    return Path(sys.prefix) / "benchmark-peers"


def run(peer: str, arguments: list[str]) -> list[float] | None:
    """What the peer's script measured; None, said loudly, if it cannot be had or fails."""
    found = _install(peer) or _measured(peer, arguments)
    if isinstance(found, list):
        return found
    print(f"!! SKIPPED: {peer} is not compared with: {found}", flush=True)
    return None


def _measured(peer: str, arguments: list[str]) -> list[float] | str:
    """The figures, or why there are none."""
    python = folder() / "bin" / "python"
    words = [str(python), "-m", f"tests.benchmarks.peers.{peer}_peer", *arguments]
    environment = {**os.environ, "PATH": f"{folder() / 'bin'}:{os.environ['PATH']}"}
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=RUN_PATIENCE_S,
            env=environment,
            check=False,
            cwd=ROOT,
        )
    except subprocess.TimeoutExpired:
        return f"its script did not end within {RUN_PATIENCE_S} s"
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or ["it failed without a word"])[-1]
    found: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _install(peer: str) -> str | None:
    """Have the peer; returns why it cannot be had."""
    try:
        if not (folder() / "bin" / "pip").exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder())], check=True, capture_output=True)
        if peer == "runit":
            return _unpack_runit()
        mark = folder() / f"{peer}.installed"
        if mark.exists() and mark.read_text() == PACKAGES[peer]:
            return None
        print(f"   (installing {PACKAGES[peer]} into {folder().name})", flush=True)
        words = [str(folder() / "bin" / "pip"), "install", "--quiet", PACKAGES[peer]]
        subprocess.run(words, check=True, capture_output=True, timeout=INSTALL_PATIENCE_S)
        mark.write_text(PACKAGES[peer])
    except subprocess.CalledProcessError as error:
        return f"it cannot be installed: {error.stderr.decode().strip()[-300:]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it cannot be installed: {error}"
    return None


def _unpack_runit() -> str | None:
    target = folder() / "bin" / "runsv"
    if shutil.which("runsv") is not None or target.exists():
        return None
    if shutil.which("apt-get") is None:
        return "there is no runsv, and no apt-get to fetch it with"
    work = folder() / "runit"
    work.mkdir(exist_ok=True)
    fetch = ["apt-get", "download", "runit"]
    subprocess.run(fetch, cwd=work, check=True, capture_output=True, timeout=INSTALL_PATIENCE_S)
    package = next(work.glob("runit_*.deb"))
    subprocess.run(["dpkg", "-x", str(package), str(work)], check=True, capture_output=True)
    found = next((path for path in work.rglob("runsv") if path.is_file()), None)
    if found is None:
        return f"{package.name} has no runsv"
    shutil.copy(found, target)
    return None
