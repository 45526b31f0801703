"""A loopback server that speaks Ollama's protocol and answers from a script: the rehearsal's model.

It says openly what it is: `/api/version` ends in `-rehearsal`. Answers are a pure function of the request
(see `playing.py`), for clients and supervisors get killed and repeat themselves. `GET /rehearsal` counts what
was served.

    python -m actors.model.rehearsal --script FILE [--port N] [--until-stdin-closes]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from actors.rehearsal.http import RehearsalHTTPServer
from actors.rehearsal.script import Script, ScriptError, load_script
from actors.rehearsal.stage import Served, Stage


class RehearsalServer:
    """`RehearsalServer(script).start()`, then `url`; or a context manager. Serves from its own threads."""

    def __init__(self, script: Script, port: int = 0) -> None:
        """`port` 0 takes a free one. Raises OSError if the port is taken."""
        self.script = script
        self.stage = Stage(script)
        self._server = RehearsalHTTPServer(self.stage, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def served(self) -> tuple[Served, ...]:
        """The latest chat requests, oldest first, each added when its answer ended."""
        return tuple(self.stage.served)

    def start(self) -> RehearsalServer:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stops listening and drops open streams at once, as a killed server would. Idempotent."""
        self.stage.stopping.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.drop_connections()
        self._server.server_close()

    def __enter__(self) -> RehearsalServer:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """Serves a script until SIGTERM, SIGINT or, if asked, the end of stdin. 0, or 2 for a bad script or port.

    The first line on stdout is the address.
    """
    parser = argparse.ArgumentParser(
        prog="rehearsal", description="A scripted model that speaks Ollama's protocol."
    )
    parser.add_argument("--script", type=Path, required=True, help="TOML or JSON script")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1, 0 for a free one")
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="end with the process that holds the other end of stdin",
    )
    asked = parser.parse_args(argv)
    try:
        server = RehearsalServer(load_script(asked.script), asked.port)
    except (ScriptError, OSError, OverflowError) as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 2
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: over.set())
    with server:
        print(server.url, flush=True)
        if asked.until_stdin_closes:
            threading.Thread(target=_until_closed, args=(over,), daemon=True).start()
        over.wait()
    return 0


def _until_closed(over: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    over.set()


if __name__ == "__main__":
    sys.exit(main())
