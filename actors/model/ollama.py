"""The model behind an Ollama server: `OllamaModel.chat`, and what setup and health checks ask a host.

Every call runs an event loop in the calling thread (see `watch.py`). Calls share nothing, so threads and
forked processes may use one `OllamaModel`; unless it was told to keep its connection, for one thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import ollama

from actors.model import wire
from actors.model.connection import Client, transport
from actors.model.errors import ModelError, ModelUnavailable, ReplyMalformed
from actors.model.hosts import normalise_host
from actors.model.protocol import ChatMessage, Cost, Limits, ModelOptions, Reply, ToolSpec
from actors.model.session import Session
from actors.model.watch import Watch, cancellation, run, supervised

_PULL_IDLE_S = 600.0  # verifying the digest of an 18 GB file is silent for minutes


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What a host answered to `probe`. `error` is None if all is well, else says what failed."""

    url: str
    reachable: bool
    version: str | None = None
    models: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What `/api/show` tells of a model; empty or None where the server does not say."""

    capabilities: tuple[str, ...] = ()
    context_length: int | None = None
    family: str | None = None


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One row of `/api/ps`. Less `vram_bytes` than `size_bytes` means that part of it runs on the CPU."""

    name: str
    context_length: int | None
    size_bytes: int | None
    vram_bytes: int | None


@dataclass(frozen=True, slots=True)
class PullProgress:
    """One line of a download: a status, and the bytes of the layer in progress."""

    status: str
    digest: str | None = None
    completed_bytes: int | None = None
    total_bytes: int | None = None


class OllamaModel:
    """A `ChatModel` on one host."""

    def __init__(self, host: str, limits: Limits | None = None, *, keeps_connection: bool = False) -> None:
        """`host` in any form `normalise_host` takes; ValueError otherwise.

        With `keeps_connection` one thread asks question after question, and hangs up at last. Without it
        nothing is held between calls, no connection, loop or lock: safe across threads and forks.
        """
        self.host = normalise_host(host)
        self.limits = limits or Limits()
        self._keeps_connection = keeps_connection
        self._session: Session | None = None
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
        """Stream one answer; `on_text` gets each piece, in this thread. See `ChatModel.chat` for the errors.

        A reply cut by `max_tokens` comes back as it is, with `done_reason` "length".
        """
        encoder = self._encoder if self._keeps_connection else wire.Encoder()
        try:
            body = encoder.encode(messages, tools, options)
        except ValueError as error:
            raise wire.translate(error, host=self.host, model=options.model) from error
        watch = Watch(self.limits, cancelled, time.monotonic())
        return self._talk(body, options.model, on_text, watch)

    def hang_up(self) -> None:
        """Give back what was kept for the next question. Harmless when there is nothing."""
        self._encoder = wire.Encoder()
        if self._session is not None:
            self._session.close()
            self._session = None

    def preload(self, options: ModelOptions, *, cancelled: threading.Event | None = None) -> Cost:
        """Load the model with the runner options that `chat` will send; returns what it cost.

        Uses the chat's limits: a client that gives up during a load aborts it, so `first_token_s` must
        exceed the longest load.
        """
        body = wire.Encoder().encode((), (), options)
        watch = Watch(self.limits, cancelled or threading.Event(), time.monotonic())
        return self._talk(body, options.model, lambda _text: None, watch).cost

    def show(self, model: str) -> ModelFacts:
        """What the host knows of a model. Raises `ModelMissing` or another `ModelError`."""
        said = self._ask("POST", "/api/show", {"model": model}, model)
        info, details = _dict(said.get("model_info")), _dict(said.get("details"))
        lengths = [v for k, v in info.items() if k.endswith(".context_length") and isinstance(v, int)]
        capabilities = tuple(str(item) for item in _list(said.get("capabilities")))
        return ModelFacts(capabilities, lengths[0] if lengths else None, _text(details.get("family")))

    def loaded(self) -> tuple[LoadedModel, ...]:
        """The models in memory now. Raises a `ModelError`."""
        rows = [_dict(row) for row in _list(self._ask("GET", "/api/ps").get("models"))]
        return tuple(
            LoadedModel(
                _text(row.get("name")) or _text(row.get("model")) or "",
                _int(row.get("context_length")),
                _int(row.get("size")),
                _int(row.get("size_vram")),
            )
            for row in rows
        )

    def pull(self, model: str) -> Iterator[PullProgress]:
        """Download a model, line by line. Closing the iterator stops it; asking again resumes it.

        Raises a `ModelError`, also when the server stops without saying "success".
        """
        timeout = httpx.Timeout(_PULL_IDLE_S, connect=self.limits.connect_s)
        last = ""
        with ollama.Client(self.host, timeout=timeout, **transport(self.host)) as client:
            lines = client.pull(model, stream=True)
            while True:
                try:
                    line = next(lines, None)
                except wire.FOREIGN as error:
                    raise wire.translate(error, host=self.host, model=model) from error
                if line is None:
                    break
                last = line.status or ""
                yield PullProgress(last, line.digest, line.completed, line.total)
        if last != "success":
            message = (
                f"{self.host} stopped pulling {model!r} at {last or 'nothing'!r}; run it again to resume"
            )
            raise ModelUnavailable(message, host=self.host, model=model)

    def _ask(
        self, method: str, path: str, body: dict[str, str] | None = None, model: str = ""
    ) -> dict[str, Any]:
        watch = Watch(self.limits, threading.Event(), time.monotonic())

        async def ask() -> dict[str, Any]:
            async with Client(self.host, self.limits.connect_s) as client:
                return await client.ask(method, path, body, model)

        return run(supervised(ask(), watch, self.host, model))

    def _talk(self, body: bytes, model: str, on_text: Callable[[str], None], watch: Watch) -> Reply:
        session, self._session = self._session or Session(self.host, self.limits.connect_s), None
        is_whole = False
        try:
            stream = self._stream(session.client, body, model, on_text, watch)
            reply = session.run(supervised(stream, watch, self.host, model))
            is_whole = True
        finally:
            if is_whole and self._keeps_connection:
                self._session = session
            else:
                session.close()
        return reply

    async def _stream(
        self, client: Client, body: bytes, model: str, on_text: Callable[[str], None], watch: Watch
    ) -> Reply:
        assembly = wire.Assembly()
        async with contextlib.aclosing(client.chunks(body, model, assembly)) as chunks:
            async for chunk in chunks:
                watch.saw_chunk(time.monotonic())
                if watch.cancelled.is_set():
                    raise cancellation(self.host, model)
                if text := assembly.add(chunk):
                    on_text(text)
        if (reply := assembly.reply()) is not None:
            return reply
        if assembly.is_empty:
            raise ModelUnavailable(
                f"{self.host} closed the stream without a word", host=self.host, model=model
            )
        # A runner that dies may end the stream in good order: only `done: true` makes an answer whole.
        message = f"{self.host} ended its answer without `done: true`"
        raise ReplyMalformed(message, host=self.host, model=model, partial_text=assembly.text)


def probe(host: str, timeout_s: float = 2.0) -> HostStatus:
    """Ask a host whether it is there, its version and its models. Never raises: see `HostStatus.error`.

    A server that lacks `/api/version` but lists its models is fine. `timeout_s` bounds the whole probe.
    """
    try:
        url = normalise_host(host)
    except ValueError as error:
        return HostStatus(host, reachable=False, error=str(error))
    return run(_probe(url, timeout_s))


async def _probe(url: str, timeout_s: float) -> HostStatus:
    version: str | None = None
    has_answered = False
    try:
        async with asyncio.timeout(timeout_s), Client(url, timeout_s) as client:
            with contextlib.suppress(ModelError):
                version = _text((await client.ask("GET", "/api/version")).get("version"))
                has_answered = version is not None
            rows = _list((await client.ask("GET", "/api/tags")).get("models"))
    except ModelError as error:
        return HostStatus(url, has_answered, version, error=str(error))
    except TimeoutError:
        return HostStatus(url, has_answered, version, error=f"{url} did not answer within {timeout_s:g} s")
    names = (_text(_dict(row).get("name")) or _text(_dict(row).get("model")) for row in rows)
    return HostStatus(url, True, version, tuple(name for name in names if name))


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
