"""A real model behind Ollama's protocol: llama.cpp with SmolLM2-135M, as `python -m tests.actors.model.ollama_shim`.

    python -m tests.actors.model.ollama_shim --context 8192 --slots 2 [--calls 0.7] [--most-tokens 24]

The first line on stdout is the address; the process ends when stdin closes. Tokens, streaming and the prefix cache are
real, the content is nonsense. For a share of the requests a grammar makes the model call one of the offered tools with
absurd but well-formed arguments. Some of these calls are sent as text, as real servers do by mistake. `GET /shim` lists
the cost of each request as llama.cpp measured it.

There is one runner, as in Ollama for each model: a `num_ctx` beyond its context is refused, and a changed one is
recorded as a reload.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import importlib
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.actors.model.tiny_model import GGUF, packages

MODEL = "smollm2:135m"
VERSION = "0.33.0-shim"
LEAKED = 0.12  # of the calls
_PLAIN = '[a-zA-Z0-9 ./_=-]{1,24}'  # fmt: skip


class Runner:
    """llama.cpp's server in this process, and the requests it served."""

    def __init__(self, folder: Path, context: int, slots: int) -> None:
        sys.path.insert(0, str(folder))
        engine: Any = importlib.import_module("xllamacpp")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.context = context
        options = engine.CommonParams()
        options.model.path = str(folder / GGUF)
        options.n_ctx, options.n_parallel = context * slots, slots
        options.hostnames, options.port = ["127.0.0.1"], self.port
        # One thread that sleeps while it waits: several spin at barriers, and on a machine that is busy with
        # other tests two of them made 0.3 tokens a second where one makes 30.
        for parameters in (options.cpuparams, options.cpuparams_batch):
            parameters.n_threads = 1
            parameters.poll = 0
        options.warmup = False
        self._server = engine.Server(options)
        self.served: list[dict[str, Any]] = []
        self.windows: set[int] = set()

    def complete(self, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The events of one completion. Closing the iterator stops the runner."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise RuntimeError(answer.read().decode(errors="replace"))
            for line in answer:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        finally:
            connection.close()


def prompt_of(body: Mapping[str, Any]) -> str:
    """The messages in ChatML, the tools at the end of the system message, as Ollama's templates have them."""
    parts: list[str] = []
    for message in body["messages"]:
        content = str(message.get("content") or "")
        if message["role"] == "system" and body.get("tools"):
            content += "\n# Tools\n" + "\n".join(json.dumps(tool["function"]) for tool in body["tools"])
        for call in message.get("tool_calls") or ():
            content += json.dumps(call["function"])
        role = "user" if message["role"] == "tool" else message["role"]
        parts.append(f"<|im_start|>{role}\n{content}<|im_end|>\n")
    return "".join(parts) + "<|im_start|>assistant\n"


def grammar(tools: Sequence[Mapping[str, Any]]) -> str:
    """Calls of the offered tools as `json.dumps` writes them, so that the next prompt repeats the same tokens."""
    rules, names = [], []
    for number, tool in enumerate(tools):
        function = tool["function"]
        given = []
        for key, kind in function["parameters"]["properties"].items():
            given.append(f'"\\"{key}\\": " {_value(key, kind["type"])}')
        inner = ' ", " '.join(given) or '""'
        rules.append(
            f'call{number} ::= "{{\\"name\\": \\"{function["name"]}\\", \\"arguments\\": {{" {inner} "}}}}"'
        )
        names.append(f"call{number}")
    kinds = f'text ::= "\\"" {_PLAIN} "\\""\nwhole ::= [1-9] [0-9]{{0,2}}\ntruth ::= "true" | "false"'
    return "\n".join([f"root ::= {' | '.join(names)}", *rules, kinds])


def _value(key: str, kind: str) -> str:
    if key == "role":
        return '( "\\"engineer\\"" | text )'
    return {"string": "text", "integer": "whole", "number": "whole", "boolean": "truth"}[kind]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Shim

    def do_GET(self) -> None:
        runner = self.server.runner
        row = {"name": MODEL, "model": MODEL, "size": 0, "size_vram": 0, "context_length": runner.context}
        known: dict[str, Any] = {
            "/api/version": {"version": VERSION},
            "/api/tags": {"models": [row]},
            "/api/ps": {"models": [row]},
            "/shim": {"served": runner.served, "windows": sorted(runner.windows)},
        }
        self._send(200 if self.path in known else 404, known.get(self.path, {"error": "404 page not found"}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if self.path == "/api/show":
            length = {"llama.context_length": self.server.runner.context}
            self._send(200, {"model_info": length, "capabilities": ["completion", "tools"], "details": {}})
        elif self.path != "/api/chat":
            self._send(404, {"error": "404 page not found"})
        elif body.get("model") != MODEL:
            self._send(404, {"error": f"model '{body.get('model')}' not found"})
        else:
            self._chat(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's signature
        """Log nothing: `/shim` lists the requests."""

    def _chat(self, body: dict[str, Any]) -> None:
        runner, started = self.server.runner, time.monotonic()
        runner.windows.add(body["options"]["num_ctx"])
        if not body.get("messages"):
            self._begin()
            self._line({"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "load"})
            self._end()
            return
        kind = self.server.kind_of(body)
        asked = _completion(body, kind, self.server.most_tokens)
        try:
            events = runner.complete(asked)
            first = next(events)
        except (RuntimeError, StopIteration) as error:
            self._send(400, {"error": f"the input length exceeds the context length: {error}"})
            return
        self._begin()
        text, last = "", first
        for event in _with(first, events):
            last = event
            text += event["content"]
            if kind != "call" and event["content"]:
                self._line({"message": {"role": "assistant", "content": event["content"]}, "done": False})
        call = _call_in(text) if kind == "call" else None
        if kind == "call":
            self._line({"message": _message(text, call), "done": False})
        self._line(_done(last, started))
        self._end()
        self.server.note(body, kind, last)

    def _begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _line(self, fields: dict[str, Any]) -> None:
        data = json.dumps({"model": MODEL, "created_at": "2026-01-01T00:00:00Z", **fields}).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Shim(ThreadingHTTPServer):
    """Ollama's paths in front of one `Runner`, on a free loopback port."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, runner: Runner, calls: float, most_tokens: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runner = runner
        self.calls = calls
        self.most_tokens = most_tokens
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that leave in the middle of a request, which tests do; show other errors."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def kind_of(self, body: Mapping[str, Any]) -> str:
        """`call`, `leak` or `text`; depends only on the request and its seed."""
        told = json.dumps([body["messages"], body["options"].get("seed")])
        lot = int.from_bytes(hashlib.sha256(told.encode()).digest()[:4], "big") / 2**32
        if not body.get("tools") or lot >= self.calls:
            return "text"
        return "leak" if lot < self.calls * LEAKED else "call"

    def note(self, body: Mapping[str, Any], kind: str, last: Mapping[str, Any]) -> None:
        system = str(body["messages"][0].get("content"))
        agent = re.search(r"^agent:[ \t]*(\S+)", system, re.MULTILINE)
        timings = last["timings"]
        with self._lock:
            self.runner.served.append(
                {
                    "agent": agent[1] if agent else "",
                    "kind": kind,
                    "messages": len(body["messages"]),
                    "cached": timings["cache_n"],
                    "new": timings["prompt_n"],
                    "generated": timings["predicted_n"],
                    "prefill_ms": round(timings["prompt_ms"]),
                    "generation_ms": round(timings["predicted_ms"]),
                }
            )


def _completion(body: Mapping[str, Any], kind: str, most_tokens: int) -> dict[str, Any]:
    options = body["options"]
    asked = {
        "prompt": prompt_of(body),
        "n_predict": min(options["num_predict"], most_tokens if kind == "text" else 4 * most_tokens),
        "temperature": options["temperature"],
        "top_p": options["top_p"],
        "top_k": options["top_k"],
        "repeat_penalty": options["repeat_penalty"],
        "seed": options.get("seed", -1),
        "cache_prompt": True,
        "stream": True,
    }
    if kind == "text":
        return asked
    # Hotter, as the grammar narrows the choice so far that one call would come again and again.
    return {
        **asked,
        "temperature": options["temperature"] + 1.0,
        "top_k": 100,
        "grammar": grammar(body["tools"]),
    }


def _call_in(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None  # cut by num_predict
    return {"function": {"name": found["name"], "arguments": found["arguments"]}}


def _message(text: str, call: dict[str, Any] | None) -> dict[str, Any]:
    if call is None:
        return {"role": "assistant", "content": text}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def _with(first: dict[str, Any], rest: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield first
    yield from rest


def _done(last: Mapping[str, Any], started: float) -> dict[str, Any]:
    timings = last["timings"]
    return {
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "length" if last.get("stop_type") == "limit" else "stop",
        "total_duration": int((time.monotonic() - started) * 1e9),
        "load_duration": 0,
        "prompt_eval_count": timings["cache_n"] + timings["prompt_n"],
        "prompt_eval_cached_count": timings["cache_n"],
        "prompt_eval_duration": int(timings["prompt_ms"] * 1e6),
        "eval_count": timings["predicted_n"],
        "eval_duration": int(timings["predicted_ms"] * 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--context", type=int, default=8192, help="tokens of one conversation")
    parser.add_argument("--slots", type=int, default=2, help="conversations at once")
    parser.add_argument("--calls", type=float, default=0.75, help="share of the replies that call a tool")
    parser.add_argument("--most-tokens", type=int, default=24, help="of a free text")
    asked = parser.parse_args()
    shim = Shim(Runner(packages(), asked.context, asked.slots), asked.calls, asked.most_tokens)
    threading.Thread(target=shim.serve_forever, daemon=True).start()
    print(shim.url, flush=True)
    while os.read(sys.stdin.fileno(), 4096):
        pass
    sys.stdout.flush()
    os._exit(0)  # llama.cpp's own end takes seconds


if __name__ == "__main__":
    main()
