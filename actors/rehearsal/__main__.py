"""Serves a script until it is stopped. The first line on stdout is the server's address.

python -m actors.rehearsal --script FILE [--port N] [--until-stdin-closes]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from actors.rehearsal.script import ScriptError, load_script
from actors.rehearsal.server import RehearsalServer


def main() -> int:
    """Serve until SIGTERM, SIGINT or, if requested, the end of stdin. Returns 0, or 2 for a bad script or port."""
    arguments = _parser().parse_args()
    try:
        server = RehearsalServer(load_script(arguments.script), arguments.port)
    except (ScriptError, OSError, OverflowError) as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    with server:
        print(server.url, flush=True)
        if arguments.until_stdin_closes:
            threading.Thread(target=_stop_at_end_of_stdin, args=(stop,), daemon=True).start()
        stop.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m actors.rehearsal", description="A scripted model that speaks Ollama's protocol."
    )
    parser.add_argument("--script", type=Path, required=True, help="TOML or JSON script")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; default: a free one")
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="stop when the process at the other end of stdin ends",
    )
    return parser


def _stop_at_end_of_stdin(stop: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
