"""The zygote: a single-threaded, preloaded, frozen process that forks actors on request.

A fork from here is ready in milliseconds and shares its memory; an exec takes 0.7 s and 50 MB. It
holds no lock, no open database and no thread, so a fork can inherit none. On Linux it forks twice,
so that the actor becomes the child of the supervisor (a subreaper), which alone learns its exit;
the zygote may then die without anybody losing a child. It ends when its supervisor's line closes.

    request:  {"name", "kind", "generation", "home", "config"} + descriptors (control, stderr)
    answer:   {"pid": n} or {"error": "..."}
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import Any

from setproctitle import setproctitle

from store import failpoints
from store.failpoints import failpoint
from supervisor.upkeep import shifted_clock

# Imported by name and checked: a preload that silently failed would cost each fork 0.5 s.
PRELOAD = (
    "actors.runtime.process",
    "actors.runtime.kinds",
    "actors.agent.agent",
    "actors.model.ollama",
    "actors.gate.actor",
    "actors.work.timer",
    "sqlalchemy",
    "pydantic",
    "ollama",
    "loguru",
)
LATE = ("libtmux", "rich", "textual", "alembic", "prompt_toolkit")  # must stay out of the agents
COLD = "cold"
_HEADER = struct.Struct("!I")


def send(line: socket.socket, content: dict[str, Any], descriptors: list[int] | None = None) -> None:
    """One length-prefixed JSON object, with descriptors beside it."""
    payload = json.dumps(content).encode()
    data = _HEADER.pack(len(payload)) + payload
    sent = socket.send_fds(line, [data], descriptors or [])
    line.sendall(data[sent:])


def receive(line: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The inverse of `send`; None when the other side has closed."""
    data, descriptors, _, _ = socket.recv_fds(line, _HEADER.size, 4)
    if not data:
        return None
    while len(data) < _HEADER.size:
        data += _some(line, _HEADER.size - len(data))
    (length,) = _HEADER.unpack(data)
    payload = b""
    while len(payload) < length:
        payload += _some(line, length - len(payload))
    content: dict[str, Any] = json.loads(payload)
    return content, descriptors


def _some(line: socket.socket, most: int) -> bytes:
    data = line.recv(most)
    if not data:
        raise ConnectionError("the line closed in the middle of a message")
    return data


def main(arguments: list[str]) -> None:
    """`python -m supervisor.zygote DESCRIPTOR STORE [cold]`; run by `launch.Launcher` alone."""
    line = socket.socket(fileno=int(arguments[0]))
    line.set_inheritable(False)
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setproctitle("nightcrew: zygote")
    shifted_clock.arm(os.environ)
    preload()
    if COLD not in arguments:
        _warm_up_or_begin_again(line, arguments)
    freeze()
    # Only now: the actor's life that warms us up is nobody's instant to be killed at.
    failpoints.arm(os.environ, "zygote")
    send(line, {"ready": os.getpid()})
    while (request := receive(line)) is not None:
        order, descriptors = request
        failpoint("before_fork")
        try:
            pid = _fork_actor(line, order, descriptors)
            failpoint("after_fork")
            send(line, {"pid": pid})
        except OSError as error:
            send(line, {"error": str(error)})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def preload() -> None:
    """Import all that actors need."""
    # httpx loads rich, if it is there, for a command line of its own; None makes that import fail.
    absent: dict[str, None] = dict.fromkeys(("rich", "pygments"))
    sys.modules.update(absent)  # type: ignore[arg-type] # None is importlib's documented "not found"
    for name in PRELOAD:
        importlib.import_module(name)
    for name in absent:
        del sys.modules[name]


def _warm_up_or_begin_again(line: socket.socket, arguments: list[str]) -> None:
    """A cold zygote costs each actor some milliseconds; a half-warmed one could not be trusted."""
    # Imported here: it needs what was just preloaded, and the supervisor, which imports us, does not.
    from supervisor.process.warm_up import TooSlow, warm_up

    try:
        warm_up(Path(arguments[1]).parent / "run" / "warm-up")
    except (Exception, TooSlow) as error:  # noqa: BLE001 - a boundary: said on stderr, then begun again
        print(f"warm-up failed, going on cold: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        line.set_inheritable(True)
        words = [sys.executable, "-m", "supervisor.process.zygote", *arguments[:2], COLD]
        os.execv(sys.executable, words)


def freeze() -> None:
    """Check that a fork would be what it should, and keep collections from touching what is shared."""
    if threading.active_count() != 1:
        raise RuntimeError(f"the zygote must be single-threaded, it has {threading.enumerate()}")
    loaded = [name for name in LATE if name in sys.modules]
    if loaded:
        raise RuntimeError(f"{', '.join(loaded)} must not be preloaded: it would cost every agent memory")
    gc.collect()
    gc.freeze()


def _fork_actor(line: socket.socket, order: dict[str, Any], descriptors: list[int]) -> int:
    if sys.platform != "linux":
        # No subreaper: the actor stays our child, reaped without a look; its line's end tells its exit.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        pid = os.fork()
        if pid == 0:
            _run_actor(line, order, descriptors)
        return pid
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            os.close(writer)
            _run_actor(line, order, descriptors)
        os.write(writer, _HEADER.pack(pid))
        os._exit(0)
    os.close(writer)
    # After this wait the actor has been reparented: the supervisor may wait for it by its pid.
    os.waitpid(middle, 0)
    try:
        return int(_HEADER.unpack(os.read(reader, _HEADER.size))[0])
    finally:
        os.close(reader)


def _run_actor(line: socket.socket, order: dict[str, Any], descriptors: list[int]) -> None:
    from actors.runtime import kinds, process

    try:
        line.close()
        control_descriptor, stderr = descriptors
        os.dup2(stderr, 2)
        os.close(stderr)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        setproctitle(f"nightcrew: {order['name']}")
        control = socket.socket(fileno=control_descriptor)
        control.set_inheritable(False)
        incarnation = process.Incarnation(**order)
        process.run(incarnation, control, kinds.actor_class(incarnation.kind))
    finally:
        os._exit(process.EXIT_NOT_STARTED)


if __name__ == "__main__":
    main(sys.argv[1:])
