"""Runs some turns of an agent inside the zygote before any actor is forked.

This fills the caches that an actor's first message needs: compiled statements, the SQL dialect, validators of
pydantic, connection classes of httpx, and modules that are imported at first use. Without it each child builds
all of that itself, which costs 25 ms per restart and 8 MB of private memory.

The agent is an orchestrator in a scratch home. Each turn has one tool call, and a forked process gives the
model's two canned answers. Afterwards no thread, lock or descriptor of the warm-up is left.
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
from actors.runtime.actor import Recover, Wake
from actors.runtime.addresses import HUMAN, ORCHESTRATOR
from actors.runtime.context import Runtime
from actors.runtime.messages import Resume, Text
from actors.runtime.process import hold_lock
from actors.runtime.wake import Waker, WakeSocket
from actors.settings import Config
from store import crew
from store.engine import Store
from store.states import ActorKind, Role
from store.upkeep import scratch

_TIMEOUT_S = 5.0
# CPython 3.11 specialises a function's code in place at its eighth call. Done here, all children share the
# result. More turns gain little and delay every start.
_TURNS = 4


def warm_up(folder: Path) -> None:
    """Run the turns in `folder`, which is created and removed. The caller must be single-threaded."""
    shutil.rmtree(folder, ignore_errors=True)
    home = Home(folder)
    home.make()
    try:
        scratch.create(home.store)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            pid = _fork_model(listener)
            try:
                _run_turns(home, listener.getsockname()[1])
            finally:
                listener.close()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    finally:
        log.release()  # each actor opens logs of its own
        shutil.rmtree(folder, ignore_errors=True)


def _run_turns(home: Home, port: int) -> None:
    given = Config.model_validate({"model": {"hosts": (f"http://127.0.0.1:{port}",), "preload": False}})
    config = Config.from_json(given.to_json())
    _limit_time()
    lock = hold_lock(home, ORCHESTRATOR, _TIMEOUT_S)
    log.configure(ORCHESTRATOR, home.logs, level="INFO", stderr=False)
    waker = Waker(home.run)
    store = Store(home.store, notify=waker)
    wake = WakeSocket(home.run, ORCHESTRATOR)
    try:
        with store.write() as tx:
            crew.add_agent(
                tx,
                name=ORCHESTRATOR,
                kind=ActorKind.AGENT,
                role=Role.ORCHESTRATOR,
                project=None,
                now=time.time(),
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
            # Again, because recovery reads the context that the turn has left.
            agent.on_receive(Recover())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        wake.close()
        store.close()
        waker.close()
        os.close(lock)


class TooSlow(BaseException):
    """The warm-up took too long. Not an `Exception`, which the actor would record and retry."""


def _raise_too_slow(_number: int, _frame: FrameType | None) -> None:
    raise TooSlow("the zygote's warm-up took too long")


def _limit_time() -> None:
    """Raise `TooSlow` after the timeout: a zygote that hangs here would start no actor at all."""
    signal.signal(signal.SIGALRM, _raise_too_slow)
    signal.setitimer(signal.ITIMER_REAL, _TIMEOUT_S)


def _fork_model(listener: socket.socket) -> int:
    """Fork a process that answers one request with each of `_ANSWERS`, in every turn; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    with contextlib.suppress(BaseException):
        listener.settimeout(_TIMEOUT_S)
        for answer in _ANSWERS * _TURNS:
            connection, _ = listener.accept()
            connection.settimeout(_TIMEOUT_S)
            _read_request(connection)
            connection.sendall(answer)
            connection.close()
    os._exit(0)


def _read_request(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536) or b"\r\n\r\n"
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [h.split(b":")[1] for h in head.lower().splitlines() if h.startswith(b"content-length:")]
    missing = int(lengths[0]) - len(body) if lengths else 0
    while missing > 0:
        missing -= len(connection.recv(65536)) or missing


def _answer(calls: list[dict[str, Any]]) -> bytes:
    """A streamed reply in the form in which Ollama sends it."""
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
