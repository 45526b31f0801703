"""`ray_peer.py KILLS`: kill -9 of a Ray actor -> its next call is answered; milliseconds as JSON."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from typing import Any


class Answering:
    """Stateless, as little as can be restarted."""

    def pid(self) -> int:
        return os.getpid()


def main(kills: int) -> list[float]:
    ray: Any = importlib.import_module("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    actor = ray.remote(Answering).options(max_restarts=-1, max_task_retries=-1).remote()
    took_ms = []
    for _ in range(kills):
        pid = ray.get(actor.pid.remote())
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        while ray.get(actor.pid.remote()) == pid:
            pass
        took_ms.append((time.perf_counter() - began) * 1000)
    ray.shutdown()
    return took_ms


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
