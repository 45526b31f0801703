"""A whole actor's life in the zygote, before any is forked: what its first message needs is there and shared.

Compiled statements, the dialect, pydantic's and httpx's machinery, imports that wait for first use: without
this each child makes all of it anew, which costs it 25 ms of its restart and 8 MB of its own memory.

The life is an orchestrator's turns with one tool call each, in a scratch home, with a canned model: two answers
a turn from a forked process that ends with them. Nothing of it stays open: no thread, no lock, no descriptor.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path
from types import FrameType
from typing import Any

from actors import log
from actors.agent.agent import Agent
from actors.home import Home
from actors.runtime import mailbox
from actors.runtime.actor import Recover, Runtime, Wake
from actors.runtime.addresses import HUMAN, ORCHESTRATOR
from actors.runtime.messages import Resume, Text
from actors.runtime.process import hold_lock
from actors.runtime.wake import Waker, WakeSocket
from actors.settings import Config
from store import crew, scratch
from store.engine import Store

_PATIENCE_S = 5.0
# CPython 3.11 rewrites a function's code in place, for the types it saw, at its eighth call: better once here
# than in each child, in pages of its own. More turns than these gain little more and delay every start.
_TURNS = 4


def warm_up(folder: Path) -> None:
    """Live that life in `folder`, which is made and removed. The caller has a single thread."""
    shutil.rmtree(folder, ignore_errors=True)
    home = Home(folder)
    home.make()
    try:
        scratch.create(home.store)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            pid = _fork_model(listener)
            try:
                _live(home, listener.getsockname()[1])
            finally:
                listener.close()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    finally:
        _silence()
        shutil.rmtree(folder, ignore_errors=True)


def _live(home: Home, port: int) -> None:
    given = Config.model_validate({"model": {"hosts": (f"http://127.0.0.1:{port}",), "preload": False}})
    config = Config.from_json(given.to_json())
    _stop_in_time()
    lock = hold_lock(home, ORCHESTRATOR, _PATIENCE_S)
    log.configure(ORCHESTRATOR, home.logs, level="INFO", stderr=False)
    waker = Waker(home.run)
    store = Store(home.store, notify=waker)
    wake = WakeSocket(home.run, ORCHESTRATOR)
    try:
        with store.write() as tx:
            crew.add_agent(
                tx, name=ORCHESTRATOR, kind="agent", role=ORCHESTRATOR, project=None, now=time.time()
            )
            generation = crew.next_generation(tx, ORCHESTRATOR)
        runtime = Runtime(ORCHESTRATOR, generation, home, config, store, waker)
        agent = Agent(runtime)
        agent.on_receive(Recover())
        mailbox.send(store, HUMAN, ORCHESTRATOR, Resume(), now=time.time())
        for _ in range(_TURNS):
            mailbox.send(store, HUMAN, ORCHESTRATOR, Text(text="Look around."), now=time.time())
            wake.drain()
            agent.on_receive(Wake())
            # Once more with a context that is there: recovery reads it.
            agent.on_receive(Recover())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        wake.close()
        store.close()
        waker.close()
        os.close(lock)


class TooSlow(BaseException):
    """The life took too long. No `Exception`, for an actor's boundary would record and retry it."""


def _give_up(_number: int, _frame: FrameType | None) -> None:
    raise TooSlow("the zygote's warm-up took too long")


def _stop_in_time() -> None:
    """Being cold is slow, being stuck here is worse: nothing at all would start."""
    signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE_S)


def _silence() -> None:
    """Close the scratch home's logs; each actor opens its own."""
    log.release()


def _fork_model(listener: socket.socket) -> int:
    """A process that gives `_ANSWERS` in each turn, one to a request, and ends; its pid."""
    pid = os.fork()
    if pid:
        return pid
    with contextlib.suppress(BaseException):
        listener.settimeout(_PATIENCE_S)
        for answer in _ANSWERS * _TURNS:
            line, _ = listener.accept()
            line.settimeout(_PATIENCE_S)
            _read_request(line)
            line.sendall(answer)
            line.close()
    os._exit(0)


def _read_request(line: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += line.recv(65536) or b"\r\n\r\n"
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [h.split(b":")[1] for h in head.lower().splitlines() if h.startswith(b"content-length:")]
    missing = int(lengths[0]) - len(body) if lengths else 0
    while missing > 0:
        missing -= len(line.recv(65536)) or missing


def _answer(calls: list[dict[str, Any]]) -> bytes:
    """One streamed reply as Ollama sends it."""
    message = {"role": "assistant", "content": "Warm."}
    lines = [
        {"model": "warm", "message": {**message, "tool_calls": calls} if calls else message, "done": False},
        {
            "model": "warm",
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 1500,
            "eval_count": 10,
        },
    ]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


_ANSWERS = (_answer([{"function": {"name": "crew_status", "arguments": {}}}]), _answer([]))
