"""The zygote: a single-threaded, preloaded, frozen process that forks actors on request.

An actor forked from here is ready in milliseconds and shares the zygote's memory; a new interpreter takes
0.7 s and 50 MB. The zygote holds no lock, no open database and no thread, so that no fork inherits one. On
Linux it forks twice, which makes the actor a child of the supervisor (a subreaper). The supervisor then gets
the actor's exit, and a zygote that dies takes no actor with it. It ends when the supervisor's socket closes.

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

# Imported by name, so that a failure is an error here and does not cost each fork 0.5 s.
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
LATE = (
    "libtmux",
    "rich",
    "textual",
    "alembic",
    "prompt_toolkit",
    "markdown_it",
    "jinja2",
)  # must stay out of the agents
COLD = "cold"
_HEADER = struct.Struct("!I")


def send(channel: socket.socket, content: dict[str, Any], descriptors: list[int] | None = None) -> None:
    """Send one length-prefixed JSON object together with file descriptors."""
    payload = json.dumps(content).encode()
    data = _HEADER.pack(len(payload)) + payload
    sent = socket.send_fds(channel, [data], descriptors or [])
    channel.sendall(data[sent:])


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Receive what `send` sent: the object and the descriptors. None if the other side has closed."""
    data, descriptors, _, _ = socket.recv_fds(channel, _HEADER.size, 4)
    if not data:
        return None
    while len(data) < _HEADER.size:
        data += _receive_some(channel, _HEADER.size - len(data))
    (length,) = _HEADER.unpack(data)
    payload = b""
    while len(payload) < length:
        payload += _receive_some(channel, length - len(payload))
    content: dict[str, Any] = json.loads(payload)
    return content, descriptors


def _receive_some(channel: socket.socket, most: int) -> bytes:
    data = channel.recv(most)
    if not data:
        raise ConnectionError("the socket was closed in the middle of a message")
    return data


def main(arguments: list[str]) -> None:
    """Run as `python -m supervisor.process.zygote DESCRIPTOR STORE [cold]`, by `launch.Launcher` only."""
    channel = socket.socket(fileno=int(arguments[0]))
    channel.set_inheritable(False)
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setproctitle("nightcrew: zygote")
    shifted_clock.arm(os.environ)
    preload()
    if COLD not in arguments:
        _warm_up_or_start_cold(channel, arguments)
    freeze()
    # Only now, so that no failpoint fires in the warm-up.
    failpoints.arm(os.environ, "zygote")
    send(channel, {"ready": os.getpid()})
    while (request := receive(channel)) is not None:
        order, descriptors = request
        failpoint("before_fork")
        try:
            pid = _fork_actor(channel, order, descriptors)
            failpoint("after_fork")
            send(channel, {"pid": pid})
        except OSError as error:
            send(channel, {"error": str(error)})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def preload() -> None:
    """Import everything that actors need."""
    # httpx imports rich, if it is installed, for its own command channel; None makes that import fail.
    absent: dict[str, None] = dict.fromkeys(("rich", "pygments"))
    sys.modules.update(absent)  # type: ignore[arg-type] # None is importlib's documented "not found"
    for name in PRELOAD:
        importlib.import_module(name)
    for name in absent:
        del sys.modules[name]


def _warm_up_or_start_cold(channel: socket.socket, arguments: list[str]) -> None:
    """Warm up, or start this program again without a warm-up if that fails.

    A cold zygote costs each actor some milliseconds. After half a warm-up its state would be unknown.
    """
    # Imported late: it imports all that `preload` imports, and the supervisor, which imports this module,
    # needs none of that.
    from supervisor.process.warm_up import TooSlow, warm_up

    try:
        warm_up(Path(arguments[1]).parent / "run" / "warm-up")
    except (Exception, TooSlow) as error:  # noqa: BLE001 - a boundary: reported on stderr, then started again
        reason = f"{type(error).__name__}: {error}"
        print(f"warm-up failed, starting again without it: {reason}", file=sys.stderr, flush=True)
        channel.set_inheritable(True)
        words = [sys.executable, "-m", "supervisor.process.zygote", *arguments[:2], COLD]
        os.execv(sys.executable, words)


def freeze() -> None:
    """Check that forking is safe and cheap, and keep the garbage collector from writing to shared pages."""
    if threading.active_count() != 1:
        raise RuntimeError(f"the zygote must be single-threaded, it has {threading.enumerate()}")
    loaded = [name for name in LATE if name in sys.modules]
    if loaded:
        raise RuntimeError(f"{', '.join(loaded)} must not be preloaded: every agent would need its memory")
    gc.collect()
    gc.freeze()


def _fork_actor(channel: socket.socket, order: dict[str, Any], descriptors: list[int]) -> int:
    if sys.platform != "linux":
        # There is no subreaper: the actor stays our child, the kernel reaps it, and the supervisor sees its
        # exit by the end of the control socket.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        pid = os.fork()
        if pid == 0:
            _run_actor(channel, order, descriptors)
        return pid
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            os.close(writer)
            _run_actor(channel, order, descriptors)
        os.write(writer, _HEADER.pack(pid))
        os._exit(0)
    os.close(writer)
    # After this wait the actor is a child of the supervisor, which may wait for it by its pid.
    os.waitpid(middle, 0)
    try:
        return int(_HEADER.unpack(os.read(reader, _HEADER.size))[0])
    finally:
        os.close(reader)


def _run_actor(channel: socket.socket, order: dict[str, Any], descriptors: list[int]) -> None:
    from actors.runtime import kinds, process

    try:
        channel.close()
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
