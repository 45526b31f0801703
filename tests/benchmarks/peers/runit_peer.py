"""`runit_peer.py KILLS`: kill -9 of a service under runsv -> it runs again; milliseconds as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.peers.restarts import PROGRAM, Announcements, measure


def main(kills: int) -> list[float]:
    with tempfile.TemporaryDirectory() as name:
        service = Path(name) / "bare"
        service.mkdir()
        announced = Announcements(Path(name))
        run = service / "run"
        run.write_text(f"#!/bin/sh\n{PROGRAM.format(fifo=announced.path)}\n")
        run.chmod(0o755)
        server = subprocess.Popen(["runsv", str(service)])
        try:
            # A service that ran for less than a second is restarted a second later.
            return measure(announced, kills, 1.2)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
