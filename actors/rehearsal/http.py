"""Ollama's HTTP interface to a `ServerState`. Chat responses are NDJSON streams of one line per token."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from actors.rehearsal.answers import ChatRequest, answer_to, read_request
from actors.rehearsal.script import Script
from actors.rehearsal.state import ServedRequest, ServerState
from actors.rehearsal.stream import REFUSALS, Break, Line, Pause, Piece, pieces_of

VERSION = "0.33.0-rehearsal"
_MAX_BODY_BYTES = 64 * 2**20


class RehearsalHTTPServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1 only, one thread per connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, state: ServerState, port: int) -> None:
        """`port` 0 takes a free one. Raises OSError if the port is in use."""
        self.state = state
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        """Close all open connections. Idle ones too: a stopped server must not answer on them."""
        with self._lock:
            connections = tuple(self._open)
        for connection in connections:
            _shut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that were killed in the middle of a request, which tests do; show other errors."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: RehearsalHTTPServer

    def do_HEAD(self) -> None:
        self._send(200, {})

    def do_GET(self) -> None:
        state = self.server.state
        if self.path == "/api/version":
            self._send(200, {"version": VERSION})
        elif self.path == "/api/tags":
            self._send(200, {"models": [_row(model, state.script) for model in state.models]})
        elif self.path == "/api/ps":
            self._send(200, {"models": [_row(model, state.script) for model in state.models[:1]]})
        elif self.path == "/rehearsal":
            self._send(200, state.summary())
        else:
            self._send(404, {"error": "404 page not found"})

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        model = str(body.get("model") or "")
        if self.path == "/api/pull":
            self._pull(model)
        elif self.path not in ("/api/chat", "/api/show"):
            self._send(404, {"error": "404 page not found"})
        elif not self.server.state.has(model):
            self._send(404, {"error": f"model '{model}' not found"})
        elif self.path == "/api/show":
            self._send(200, _shown(self.server.state.script))
        else:
            self._chat(model, body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's signature
        """Log nothing: `ServerState.served` records the requests."""

    def _chat(self, model: str, body: dict[str, Any]) -> None:
        if not body.get("messages"):
            self._stream([Line({"message": _assistant(""), "done": True, "done_reason": "load"})], model)
            return
        state = self.server.state
        request = read_request(body)
        if (refusal := _refusal(body, request)) is not None:
            self._send(400, {"error": refusal})
            return
        answer = answer_to(state.script, request)
        fault = state.pick_fault(request, answer)
        outcome = "fault" if fault else "answered"
        try:
            if fault in REFUSALS:
                status, text = REFUSALS[fault]
                self._send(status, {"error": text.format(model=model)})
            elif body.get("stream", True):
                if not self._stream(pieces_of(answer, request, fault), model):
                    outcome = "closed"
            else:
                self._send(200, _whole(pieces_of(answer, request, fault), model))
        except (ConnectionError, TimeoutError):
            outcome = "closed"
            raise
        finally:
            served = ServedRequest(request.role, request.agent, request.digest, answer.scene, fault, outcome)
            state.served.append(served)

    def _pull(self, model: str) -> None:
        digest = "sha256:" + "0" * 64
        total = 1_000_000
        steps: list[dict[str, Any]] = [{"status": "pulling manifest"}]
        steps += [
            {
                "status": f"pulling {digest[7:19]}",
                "digest": digest,
                "total": total,
                "completed": total * i // 4,
            }
            for i in range(5)
        ]
        steps += [
            {"status": "verifying sha256 digest"},
            {"status": "writing manifest"},
            {"status": "success"},
        ]
        if self._stream([Line(step) for step in steps], "") and model:
            self.server.state.add_model(model)

    def _stream(self, pieces: list[Piece], model: str) -> bool:
        """Send the pieces. False if the client left or the server stopped before the end."""
        held, has_begun = b"", False
        for piece in pieces:
            if held and isinstance(piece, Pause | Break):
                self.wfile.write(held)
                held = b""
            if isinstance(piece, Pause):
                if not self._wait(piece.ms):
                    self._close()
                    return False
            elif isinstance(piece, Break):
                self._close()
                return True
            else:
                # Like Ollama, send the status line with the first token.
                has_begun = has_begun or self._begin()
                self.wfile.write(held)
                held = _chunk(piece.encode(model, _now()))
        if not has_begun:
            self._begin()
        # Send the last line together with the final chunk: a client may disconnect after reading `done`.
        self.wfile.write(held + _chunk(b""))
        return True

    def _begin(self) -> bool:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        return True

    def _wait(self, ms: float | None) -> bool:
        """Wait `ms` milliseconds, without limit if None. False once the client has left or the server stops."""
        deadline_s = None if ms is None else time.monotonic() + ms / 1e3
        poll = select.poll()  # select() fails with descriptors above 1024
        poll.register(self.connection, select.POLLIN)
        while not self.server.state.stopping.is_set():
            left_s = 0.1 if deadline_s is None else deadline_s - time.monotonic()
            if left_s <= 0:
                return True
            if poll.poll(min(left_s, 0.1) * 1e3):
                return False  # a client that waits for its answer sends nothing: it has closed the connection
        return False

    def _close(self) -> None:
        self.close_connection = True
        _shut(self.connection)

    def _body(self) -> dict[str, Any] | None:
        """The JSON object of the request; None if it had none and a 400 was sent."""
        try:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 <= length <= _MAX_BODY_BYTES:
                raise ValueError(f"body of {length} bytes")
            body = json.loads(self.rfile.read(length) or b"{}")
            if isinstance(body, dict):
                return body
            problem = "the body is not a JSON object"
        except ValueError as error:
            problem = str(error)
        self.close_connection = True
        self._send(400, {"error": problem})
        return None

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _refusal(body: dict[str, Any], request: ChatRequest) -> str | None:
    """The reason for which Ollama would answer with a 400; None if it would not."""
    if body.get("think"):
        return f"{body.get('model')!r} does not support thinking"
    options = body.get("options")
    window = options.get("num_ctx") if isinstance(options, dict) else None
    if isinstance(window, int) and request.prompt_tokens > window and body.get("truncate") is False:
        return f"the input length ({request.prompt_tokens} tokens) exceeds the context length ({window})"
    return None


def _whole(pieces: list[Piece], model: str) -> dict[str, Any]:
    """The single JSON object that answers a request with `stream: false`."""
    lines = [piece.fields for piece in pieces if isinstance(piece, Line)]
    content = "".join(line["message"]["content"] for line in lines)
    calls = [call for line in lines for call in line["message"].get("tool_calls", [])]
    message = _assistant(content) | ({"tool_calls": calls} if calls else {})
    return {"model": model, "created_at": _now(), **lines[-1], "message": message}


def _assistant(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def _row(model: str, script: Script) -> dict[str, Any]:
    return {
        "name": model,
        "model": model,
        "size": 0,
        "size_vram": 0,
        "digest": "0" * 64,
        "context_length": script.context_length,
        "details": {"family": "rehearsal", "format": "script"},
    }


def _shown(script: Script) -> dict[str, Any]:
    return {
        "details": {"family": "rehearsal", "format": "script"},
        "model_info": {"rehearsal.context_length": script.context_length},
        "capabilities": ["completion", "tools"],
        "parameters": "",
    }


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the client closed it first
        connection.shutdown(socket.SHUT_RDWR)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
