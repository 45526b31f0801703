"""The time limits and the cancellation of one request.

A request runs as a task of an event loop in the calling thread. Closing a socket under a blocked reader of
another thread is a race on every platform, while a task can be cancelled while it connects, waits or reads.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from actors.model.errors import ModelCancelled, ModelUnavailable
from actors.model.protocol import Limits

# The longest time until a cancellation or an exceeded limit is noticed. 200 ms are promised. Each check wakes
# the process for 0.2 ms, so a shorter interval would cost more with every agent that waits for its server.
POLL_S = 0.08

T = TypeVar("T")


class Watchdog:
    """Watches one request, from its creation on."""

    def __init__(self, limits: Limits, cancelled: threading.Event, *, host: str, model: str = "") -> None:
        """`host` and `model` are named in the errors."""
        self._limits = limits
        self._cancelled = cancelled
        self._host = host
        self._model = model
        self._started_s = time.monotonic()
        self._last_chunk_s: float | None = None

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`. Raises `ModelCancelled`, or `ModelUnavailable` if a limit is exceeded.

        The task of `work` is left to whoever closes the event loop.
        """
        if self._cancelled.is_set():
            work.close()
            raise self._cancellation()
        task = asyncio.ensure_future(work)
        while True:
            await asyncio.wait({task}, timeout=POLL_S)
            if task.done():
                return task.result()
            self._check()

    def chunk_arrived(self) -> None:
        """Restart the idle limit. Raises `ModelCancelled`."""
        self._last_chunk_s = time.monotonic()
        if self._cancelled.is_set():
            raise self._cancellation()

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise self._cancellation()
        if exceeded := self._exceeded(time.monotonic()):
            raise ModelUnavailable(f"{self._host} {exceeded}", host=self._host, model=self._model)

    def _exceeded(self, now_s: float) -> str | None:
        """The limit that the request has exceeded, in words; None if it is within all of them."""
        limits = self._limits
        if now_s - self._started_s > limits.total_s:
            return f"took longer than {limits.total_s:g} s in total"
        if self._last_chunk_s is None:
            if now_s - self._started_s > limits.first_token_s:
                return f"sent nothing for {limits.first_token_s:g} s"
        elif now_s - self._last_chunk_s > limits.idle_s:
            return f"stopped sending for {limits.idle_s:g} s in the middle of its reply"
        return None

    def _cancellation(self) -> ModelCancelled:
        return ModelCancelled(f"request to {self._host} cancelled", host=self._host, model=self._model)
