"""The official client as this project uses it: answers as chunks, errors as ours, no proxy for loopback."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Self

import httpx
import ollama

from actors.model import wire
from actors.model.errors import ReplyMalformed
from actors.model.hosts import is_local

# Long enough for the next step's question, too short for a server to hang up just then (5 s is the least that
# is known), or for a way to it to be lost unseen: the question would wait for an answer that cannot come.
_KEEP_S = 2.0
_END_S = 0.05  # the end of a stream comes with its last line, or the connection is not kept


class Client(ollama.AsyncClient):
    """The official client, read so that a reply's text may contain any character.

    Its own reader cuts lines at U+0085 too, which Ollama leaves unescaped inside JSON strings: a file
    with that character could never be written. It also has no keyword for `truncate` and `shift`.
    """

    def __init__(self, host: str, connect_s: float) -> None:
        self._host = host
        _note_what_is_absent()
        # Reads have no limit here: `Watch` has all of them, also those that outlast a single read.
        super().__init__(
            host,
            timeout=httpx.Timeout(None, connect=connect_s),
            limits=httpx.Limits(keepalive_expiry=_KEEP_S),
            **transport(host),
        )

    async def __aenter__(self) -> Self:
        return self

    async def hang_up(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def chunks(
        self, body: bytes, model: str, assembly: wire.Assembly
    ) -> AsyncGenerator[wire.Chunk, None]:
        """The lines of one streamed answer, the one with `done: true` as the last. Raises a `ModelError`."""
        try:
            async with self._client.stream("POST", "/api/chat", content=body) as response:
                if response.status_code >= 400:
                    said = wire.error_text((await response.aread()).decode(errors="replace"))
                    raise wire.refusal(response.status_code, said, self._host, model)
                async for line in (lines := _lines(response)):
                    yield (chunk := wire.parse_line(line))
                    if chunk.done:
                        await _read_to_end(lines)
                        return
        except wire.FOREIGN as error:
            raise wire.translate(error, host=self._host, model=model, partial_text=assembly.text) from error

    async def ask(
        self, method: str, path: str, body: dict[str, str] | None = None, model: str = ""
    ) -> dict[str, Any]:
        """One plain JSON answer. Raises a `ModelError`."""
        try:
            response = await self._client.request(method, path, json=body)
            if response.status_code >= 400:
                raise wire.refusal(response.status_code, wire.error_text(response.text), self._host, model)
            said = json.loads(response.content)
        except wire.FOREIGN as error:
            raise wire.translate(error, host=self._host, model=model) from error
        if not isinstance(said, dict):
            raise ReplyMalformed(f"{self._host}{path} sent no JSON object", host=self._host, model=model)
        return said


def _note_what_is_absent() -> None:
    """httpcore tries to import sniffio four times a question, each a look through all of sys.path (0.1 ms)."""
    if "sniffio" not in sys.modules and importlib.util.find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment] # importlib's documented "not found"


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body's lines, cut at line feeds only; a blank one is a keep-alive and left out."""
    rest = b""
    async for piece in response.aiter_bytes():
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
    if rest.strip():
        yield rest


async def _read_to_end(lines: AsyncIterator[bytes]) -> None:
    """A connection that was read to the end can be used again. The answer is whole: nothing may lose it now."""
    with contextlib.suppress(*wire.FOREIGN, TimeoutError):
        async with asyncio.timeout(_END_S):
            async for _ in lines:
                pass


def transport(host: str) -> dict[str, Any]:
    """Arguments for httpx: no proxy for loopback; no loading of CA certificates (20 ms) for plain http."""
    arguments: dict[str, Any] = {"trust_env": not is_local(host)}
    if host.startswith("http:"):
        # Trusts nobody, so that a redirect to https fails instead of going unverified.
        arguments["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return arguments
