"""`huey_peer.py MESSAGES FOLDER`: durable put + get + ack a second with huey on SQLite, FULL; as JSON.

The message's text is 1 kB. huey takes a task out of its table when it is got; the ack is its kept result.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any


def main(count: int, folder: Path) -> list[float]:
    module: Any = importlib.import_module("huey")
    queue = module.SqliteHuey("bench", filename=str(folder / "huey.db"), fsync=True)

    def work(text: str) -> int:
        return len(text)

    task = queue.task()(work)
    text = "x" * 1000
    began = time.perf_counter()
    for _ in range(count):
        task(text)
        queue.execute(queue.dequeue())
    return [count / (time.perf_counter() - began)]


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), Path(sys.argv[2]))))
