"""The official client as this project uses it: answers as chunks, errors as ours, no proxy for loopback."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Self

import httpx
import ollama

from actors.model import wire
from actors.model.errors import ReplyMalformed
from actors.model.hosts import is_local


class Client(ollama.AsyncClient):
    """The official client, read so that a reply's text may contain any character.

    Its own reader cuts lines at U+0085 too, which Ollama leaves unescaped inside JSON strings: a file
    with that character could never be written. It also has no keyword for `truncate` and `shift`.
    """

    def __init__(self, host: str, connect_s: float) -> None:
        self._host = host
        # Reads have no limit here: `Watch` has all of them, also those that outlast a single read.
        super().__init__(host, timeout=httpx.Timeout(None, connect=connect_s), **transport(host))

    async def __aenter__(self) -> Self:
        return self

    async def chunks(
        self, body: dict[str, Any], model: str, assembly: wire.Assembly
    ) -> AsyncGenerator[wire.Chunk, None]:
        """The lines of one streamed answer. Raises a `ModelError`."""
        try:
            async with self._client.stream("POST", "/api/chat", json=body) as response:
                if response.status_code >= 400:
                    said = wire.error_text((await response.aread()).decode(errors="replace"))
                    raise wire.refusal(response.status_code, said, self._host, model)
                async for line in _lines(response):
                    yield wire.parse_line(line)
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


def transport(host: str) -> dict[str, Any]:
    """Arguments for httpx: no proxy for loopback; no loading of CA certificates (20 ms) for plain http."""
    arguments: dict[str, Any] = {"trust_env": not is_local(host)}
    if host.startswith("http:"):
        # Trusts nobody, so that a redirect to https fails instead of going unverified.
        arguments["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return arguments
