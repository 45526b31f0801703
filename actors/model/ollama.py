"""The chat client of an Ollama server. See `admin.py` for everything but chat."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from actors.model import wire
from actors.model.address import normalise_host
from actors.model.connection import Connection, lines_of
from actors.model.errors import ModelUnavailable, ReplyMalformed
from actors.model.protocol import ChatMessage, Cost, Limits, ModelOptions, Reply, ToolSpec
from actors.model.watchdog import Watchdog

# The end of a stream arrives with its last line. A server that delays it does not get its connection kept.
_STREAM_END_S = 0.05


class OllamaClient:
    """Chats with the models of one host."""

    def __init__(self, host: str, limits: Limits | None = None, *, keep_connection: bool = False) -> None:
        """`host` in any form that `normalise_host` accepts; raises ValueError otherwise.

        With `keep_connection` requests share a connection until `close`, and only one thread may use the
        client. Without it the client holds no socket, event loop or lock between requests, so threads and
        forked processes may share it.
        """
        self.host = normalise_host(host)
        self.limits = limits or Limits()
        self._keep_connection = keep_connection
        self._connection: Connection | None = None
        self._encoder = wire.Encoder()

    def chat(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[ToolSpec],
        options: ModelOptions,
        *,
        on_text: Callable[[str], None],
        cancelled: threading.Event,
    ) -> Reply:
        """Stream one reply; `on_text` gets each piece of its text, in this thread.

        Raises a `ModelError`: `ModelCancelled` within 200 ms after `cancelled` is set. A reply cut off by
        `max_tokens` is returned, with `done_reason` "length".
        """
        encoder = self._encoder if self._keep_connection else wire.Encoder()
        try:
            body = encoder.encode(messages, tools, options)
        except ValueError as error:
            raise wire.translate(error, host=self.host, model=options.model) from error
        return self._request(body, options.model, on_text, cancelled)

    def preload(self, options: ModelOptions) -> Cost:
        """Load the model with the runner options that `chat` will send; returns the cost.

        The limits of `chat` apply. A client that disconnects during a load aborts it, so `first_token_s` must
        exceed the longest load.
        """
        body = wire.Encoder().encode((), (), options)
        return self._request(body, options.model, lambda _text: None, threading.Event()).cost

    def close(self) -> None:
        """Close the kept connection, if any; the next request opens a new one."""
        self._encoder = wire.Encoder()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(
        self, body: bytes, model: str, on_text: Callable[[str], None], cancelled: threading.Event
    ) -> Reply:
        watchdog = Watchdog(self.limits, cancelled, host=self.host, model=model)
        connection = self._connection or Connection(self.host, self.limits.connect_s)
        self._connection = None
        is_complete = False
        try:
            reply = connection.run(watchdog.run(self._reply(connection, body, model, on_text, watchdog)))
            is_complete = True
        finally:
            if is_complete and self._keep_connection:
                self._connection = connection
            else:
                connection.close()
        return reply

    async def _reply(
        self,
        connection: Connection,
        body: bytes,
        model: str,
        on_text: Callable[[str], None],
        watchdog: Watchdog,
    ) -> Reply:
        builder = wire.ReplyBuilder()
        async with contextlib.aclosing(self._chunks(connection, body, model, builder)) as chunks:
            async for chunk in chunks:
                watchdog.chunk_arrived()
                if text := builder.add(chunk):
                    on_text(text)
        if (reply := builder.reply()) is not None:
            return reply
        if builder.is_empty:
            raise ModelUnavailable(
                f"{self.host} closed the stream without a reply", host=self.host, model=model
            )
        # A runner that dies may end the stream properly: only `done: true` completes a reply.
        message = f"{self.host} ended its reply without `done: true`"
        raise ReplyMalformed(message, host=self.host, model=model, partial_text=builder.text)

    async def _chunks(
        self, connection: Connection, body: bytes, model: str, builder: wire.ReplyBuilder
    ) -> AsyncGenerator[wire.Chunk, None]:
        """The chunks of one streamed reply, until the one with `done: true`. Raises a `ModelError`.

        A generator, so that errors of the code that consumes the chunks are not translated.
        """
        try:
            async with connection.http.stream("POST", "/api/chat", content=body) as response:
                if response.status_code >= 400:
                    text = (await response.aread()).decode(errors="replace")
                    raise wire.refusal(response.status_code, wire.error_text(text), self.host, model)
                async for line in (lines := lines_of(response)):
                    yield (chunk := wire.decode(line))
                    if chunk.done:
                        await _read_to_end(lines)
                        return
        except wire.FOREIGN as error:
            raise wire.translate(error, host=self.host, model=model, partial_text=builder.text) from error


async def _read_to_end(lines: AsyncIterator[bytes]) -> None:
    """Read what follows the reply, so that the connection can be used again. Raises nothing: the reply is
    complete and must not be lost."""
    with contextlib.suppress(*wire.FOREIGN, TimeoutError):
        async with asyncio.timeout(_STREAM_END_S):
            async for _ in lines:
                pass
