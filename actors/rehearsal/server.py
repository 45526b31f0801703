"""The server of the scripted model, as an object for the process that runs it."""

from __future__ import annotations

import threading

from actors.rehearsal.http import RehearsalHTTPServer
from actors.rehearsal.script import Script
from actors.rehearsal.state import ServedRequest, ServerState


class RehearsalServer:
    """Serves a script from threads of its own, between `start` and `stop` or as a context manager."""

    def __init__(self, script: Script, port: int = 0) -> None:
        """`port` 0 takes a free one. Raises OSError if the port is in use."""
        self.script = script
        self._state = ServerState(script)
        self._server = RehearsalHTTPServer(self._state, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def served(self) -> tuple[ServedRequest, ...]:
        """The latest chat requests, oldest first. Each is added when its answer has ended."""
        return tuple(self._state.served)

    def start(self) -> RehearsalServer:
        """Begin to serve; returns the server."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and drop open connections at once, as a killed server would. Idempotent."""
        self._state.stopping.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.drop_connections()
        self._server.server_close()

    def __enter__(self) -> RehearsalServer:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.stop()
