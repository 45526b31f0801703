"""An HTTP server on loopback that answers with any bytes a test specifies, valid or not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

Answering = Callable[["Exchange"], None]


class Exchange:
    """One request on one connection."""

    def __init__(self, connection: socket.socket, path: str, body: bytes, server: BadServer) -> None:
        self.connection = connection
        self.path = path
        self.body = body
        self._server = server

    def json(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body)
        return told

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.sendall(piece)

    def begin(self, status: int = 200) -> None:
        self.send(f"HTTP/1.1 {status} X\r\nContent-Type: application/x-ndjson\r\n".encode())
        self.send(b"Transfer-Encoding: chunked\r\n\r\n")

    def line(self, line: object) -> None:
        data = line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode() + b"\n"
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> None:
        self.send(b"0\r\n\r\n")

    def answer(self, status: int, body: object) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        self.send(head.encode() + data)

    def wait_until_closed(self) -> None:
        """Return when the client has closed the connection, and set `saw_close`."""
        self.connection.settimeout(20)
        while self.connection.recv(4096):
            pass
        self._server.saw_close.set()


class BadServer:
    """Answers each request with the next of `answers`, and with the last one from then on.

    Each connection has one, or with `keeps` any number of them.
    """

    def __init__(self, *answers: Answering, keeps: bool = False) -> None:
        self._answers: Sequence[Answering] = answers
        self._keeps = keeps
        self.connections = 0
        self.requests: list[Exchange] = []
        self.saw_request = threading.Event()
        self.saw_close = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def is_serving(self, number: int) -> bool:
        """Whether the connection with this number, counted from 1, is still open."""
        return self._threads[number - 1].is_alive()

    def __enter__(self) -> BadServer:
        self._accepting.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._accepting, *self._threads):
            thread.join(20)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while self._serve_one(connection) and self._keeps:
                    pass
            except (ConnectionError, TimeoutError):
                return  # the client has left, as many of these tests want

    def _serve_one(self, connection: socket.socket) -> bool:
        exchange = self._read(connection)
        if exchange is None:
            return False
        answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
        self.requests.append(exchange)
        self.saw_request.set()
        answer(exchange)
        return True

    def _read(self, connection: socket.socket) -> Exchange | None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return None
            data += piece
        head, body = data.split(b"\r\n\r\n", 1)
        length = 0
        for row in head.split(b"\r\n")[1:]:
            name, value = row.split(b":", 1)
            if name.lower() == b"content-length":
                length = int(value)
        while len(body) < length:
            body += connection.recv(65536)
        return Exchange(connection, head.split(b" ")[1].decode(), body, self)


def text_line(text: str, **more: object) -> dict[str, object]:
    return {"model": "m", "message": {"role": "assistant", "content": text}, "done": False, **more}


DONE = text_line("", done=True, done_reason="stop", prompt_eval_count=11, eval_count=3)


def streaming(*lines: object) -> Answering:
    """A complete 200 stream of these lines: bytes as they are, anything else as JSON."""

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for line in lines:
            exchange.line(line)
        exchange.end()

    return answer


def refusing(status: int, body: object) -> Answering:
    return lambda exchange: exchange.answer(status, body)


def silent(exchange: Exchange) -> None:
    """Accept the request and send nothing."""
    exchange.wait_until_closed()


def stalling(*lines: object) -> Answering:
    """Begin to answer and stop sending."""

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for line in lines:
            exchange.line(line)
        exchange.wait_until_closed()

    return answer


def dying(*lines: object) -> Answering:
    """Begin to answer and close the connection inside a chunk."""

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for line in lines:
            exchange.line(line)
        exchange.send(b"40\r\n{")

    return answer
