"""`dbos_peer.py KILLS`: kill -9 of a DBOS process in a workflow -> restarted at once, it has finished it.

DBOS is a library: its process is started again here, as a service manager without any delay would.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main(kills: int) -> list[float]:
    took_ms = []
    for _ in range(kills):
        with tempfile.TemporaryDirectory() as folder:
            took_ms.append(_one(Path(folder)))
    return took_ms


def _one(folder: Path) -> float:
    words = [sys.executable, __file__, "--work", str(folder)]
    first = subprocess.Popen([*words, "start"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    _await(first, b"working")
    began = time.perf_counter()
    os.kill(first.pid, signal.SIGKILL)
    (folder / "go").touch()
    first.wait()
    second = subprocess.Popen([*words, "recover"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    _await(second, b"finished")
    took_ms = (time.perf_counter() - began) * 1000
    second.kill()
    second.wait()
    return took_ms


def _await(process: subprocess.Popen[bytes], word: bytes) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == word:
            return
    raise RuntimeError(f"the process ended without saying {word.decode()}")


def work(folder: Path, what: str) -> None:
    """One process with one workflow of two steps."""
    dbos: Any = importlib.import_module("dbos").DBOS
    settings = {
        "name": "bench",
        "system_database_url": f"sqlite:///{folder}/dbos.sqlite",
        "run_admin_server": False,
        "application_version": "1",
        "executor_id": "bench",
    }
    dbos(config=settings)

    def waiting() -> str:
        print("working", flush=True)
        while not (folder / "go").exists():
            time.sleep(0.01)
        return "done"

    def ending(said: str) -> str:
        print("finished", flush=True)
        return said

    first, last = dbos.step()(waiting), dbos.step()(ending)

    def flow() -> str:
        return str(last(first()))

    registered = dbos.workflow()(flow)
    dbos.launch()
    if what == "start":
        dbos.start_workflow(registered)
    time.sleep(60)


if __name__ == "__main__":
    if sys.argv[1] == "--work":
        work(Path(sys.argv[2]), sys.argv[3])
    else:
        print(json.dumps(main(int(sys.argv[1]))))
