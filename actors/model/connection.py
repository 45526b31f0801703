"""An event loop and an HTTP client that last longer than one request.

Creating them costs more than anything else that we do for a request: 1.5 ms of 2.5 ms, measured on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import ssl
import sys
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Self, TypeVar

import httpx
import ollama

from actors.model.address import is_local

# Long enough for the request of the agent's next step. Servers close idle connections too, the quickest known
# after 5 s, and a request sent just then would fail.
_KEEP_ALIVE_S = 2.0
_CLOSE_S = 0.1

T = TypeVar("T")


class Connection:
    """An event loop with an HTTP client of one host, for one thread of one process.

    Close it after every error: a request may still be running in it.
    """

    def __init__(self, host: str, connect_s: float) -> None:
        """`host` is a normalised address, `connect_s` the limit for each connection attempt."""
        self.host = host
        self.http = _http_client(host, connect_s)
        self._loop = asyncio.new_event_loop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end in the calling thread."""
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        """Cancel what still runs and close the sockets, each within `_CLOSE_S`.

        Unlike `asyncio.run` it never waits for the threads of the name resolver: a DNS query may hang for
        many seconds.
        """
        try:
            self._cancel_tasks()
            with contextlib.suppress(TimeoutError):
                self._loop.run_until_complete(self._close_http())
        finally:
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _cancel_tasks(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            done, _ = self._loop.run_until_complete(asyncio.wait(tasks, timeout=_CLOSE_S))
            for task in done:
                # asyncio would log an exception that nobody retrieved; the caller has the error that matters.
                _ = task.cancelled() or task.exception()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    async def _close_http(self) -> None:
        async with asyncio.timeout(_CLOSE_S):
            await self.http.aclose()


async def lines_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """The lines of a response that are not blank, split at line feeds only.

    The official client also splits at U+0085, which Ollama leaves unescaped inside JSON strings.
    """
    rest = b""
    async for piece in response.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
    if rest.strip():
        yield rest


def transport_options(host: str) -> dict[str, Any]:
    """Keyword arguments for httpx: no proxy for loopback, no CA certificates (20 ms to load) for plain http."""
    options: dict[str, Any] = {"trust_env": not is_local(host)}
    if host.startswith("http:"):
        # This context trusts no certificate, so a redirect to https fails instead of being unverified.
        options["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return options


def _http_client(host: str, connect_s: float) -> httpx.AsyncClient:
    """The HTTP client of the official Ollama client, with its headers and the OLLAMA_API_KEY.

    The official methods are not used: `chat` has no keyword for `truncate` and `shift`.
    """
    _skip_sniffio_lookups()
    # No read limit: the watchdog has all limits, also those that span several reads.
    official = ollama.AsyncClient(
        host,
        timeout=httpx.Timeout(None, connect=connect_s),
        limits=httpx.Limits(keepalive_expiry=_KEEP_ALIVE_S),
        **transport_options(host),
    )
    client: httpx.AsyncClient = official._client
    return client


def _skip_sniffio_lookups() -> None:
    """Mark sniffio as absent: httpcore tries to import it four times per request, 0.1 ms each time."""
    if "sniffio" not in sys.modules and importlib.util.find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment] # the documented mark for "no such module"
