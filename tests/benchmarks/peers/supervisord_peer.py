"""`supervisord_peer.py KILLS`: kill -9 of a supervised program -> it runs again; milliseconds as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.peers.restarts import PROGRAM, Announcements, measure

CONFIG = """\
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile={folder}/pid
[program:bare]
command=/bin/sh -c "{program}"
autorestart=true
startsecs=0
"""


def main(kills: int) -> list[float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        announced = Announcements(folder)
        config = folder / "supervisord.conf"
        config.write_text(CONFIG.format(folder=folder, program=PROGRAM.format(fifo=announced.path)))
        server = subprocess.Popen(
            ["supervisord", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            return measure(announced, kills, 0.2)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
