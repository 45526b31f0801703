"""A loopback proxy that records the bytes of each request body, in order of arrival."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit


class RecordingProxy:
    """Forwards connections to `upstream`; `chats` are the bodies of `POST /api/chat` with messages."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (str(parts.hostname), int(parts.port or 80))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._lock = threading.Lock()
        self.chats: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> RecordingProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._upstream) as server, contextlib.suppress(OSError):
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            while True:  # until the client disconnects, which raises and closes both connections
                head, body = self._read(client)
                if head.startswith(b"POST /api/chat ") and b'"messages":[]' not in body:
                    with self._lock:
                        self.chats.append(body)
                server.sendall(head + body)

    def _read(self, client: socket.socket) -> tuple[bytes, bytes]:
        """One request: its head with the blank line, and its body."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = client.recv(65536)
            if not piece:
                raise ConnectionError
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        rows = (row.partition(b":") for row in head.split(b"\r\n")[1:])
        length = next((int(value) for name, _, value in rows if name.lower() == b"content-length"), 0)
        while len(body) < length:
            body += client.recv(65536)
        return head + b"\r\n\r\n", body


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy bytes until the source closes, then shut down the sink's write side to forward the disconnect."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR if source is not sink else socket.SHUT_RDWR)
