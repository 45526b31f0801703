"""Running a request so that it can be cancelled, and stopped by its limits, wherever it hangs.

A private event loop in the calling thread: closing a socket under a blocked reader of another thread is a
race on every platform, while a task can be cancelled in connect, queue, prefill and generation alike.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from actors.model.errors import ModelCancelled, ModelUnavailable
from actors.model.protocol import Limits

# The longest that a cancellation or an overrun limit goes unseen. 200 ms are promised; looking oftener than
# that needs costs a wake-up of 0.2 ms each time, for every agent that waits in the server's queue.
TICK_S = 0.08
CLOSE_S = 0.1

T = TypeVar("T")


class Watch:
    """The limits and the cancellation of one request, asked every tick."""

    def __init__(self, limits: Limits, cancelled: threading.Event, started_s: float) -> None:
        self.cancelled = cancelled
        self._limits = limits
        self._started_s = started_s
        self._last_chunk_s: float | None = None

    def saw_chunk(self, now_s: float) -> None:
        self._last_chunk_s = now_s

    def overrun(self, now_s: float) -> str | None:
        """What the request has exceeded, in words, or None."""
        if now_s - self._started_s > self._limits.total_s:
            return f"took more than {self._limits.total_s:g} s in all"
        if self._last_chunk_s is None:
            if now_s - self._started_s > self._limits.first_token_s:
                return f"sent nothing for {self._limits.first_token_s:g} s"
        elif now_s - self._last_chunk_s > self._limits.idle_s:
            return f"fell silent for {self._limits.idle_s:g} s in the middle of its answer"
        return None


async def supervised(work: Coroutine[Any, Any, T], watch: Watch, host: str, model: str) -> T:
    """Runs `work` until it ends, is cancelled or overruns a limit, looking every `TICK_S`."""
    if watch.cancelled.is_set():
        work.close()
        raise cancellation(host, model)
    task = asyncio.ensure_future(work)
    while True:
        await asyncio.wait({task}, timeout=TICK_S)
        if task.done():
            return task.result()
        if watch.cancelled.is_set():
            raise cancellation(host, model)
        if overrun := watch.overrun(time.monotonic()):
            raise ModelUnavailable(f"{host} {overrun}", host=host, model=model)


def run(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, but it never waits for the resolver's threads: a stuck DNS query takes many seconds."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        try:
            close_leftovers(loop)
        finally:
            loop.close()


def close_leftovers(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what still runs in a loop that is to be closed."""
    leftovers = asyncio.all_tasks(loop)
    for task in leftovers:
        task.cancel()
    if leftovers:
        done, _ = loop.run_until_complete(asyncio.wait(leftovers, timeout=CLOSE_S))
        for task in done:
            # Looked at, so that asyncio does not report it: the caller gets the error that stopped the task.
            _ = task.cancelled() or task.exception()
    loop.run_until_complete(loop.shutdown_asyncgens())


def cancellation(host: str, model: str) -> ModelCancelled:
    return ModelCancelled(f"request to {host} cancelled", host=host, model=model)
