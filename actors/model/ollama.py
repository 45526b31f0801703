"""The model behind an Ollama server: `OllamaModel.chat`, and what setup and health checks ask a host.

Every call runs a private event loop in the calling thread (see `watch.py`). Calls share nothing, so
threads and forked processes may use one `OllamaModel`.
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
    """A `ChatModel` on one host. Holds no connection, loop or lock: safe across threads and forks."""

    def __init__(self, host: str, limits: Limits | None = None) -> None:
        """`host` in any form `normalise_host` takes; ValueError otherwise."""
        self.host = normalise_host(host)
        self.limits = limits or Limits()

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
        body = wire.request_body(messages, tools, options)
        watch = Watch(self.limits, cancelled, time.monotonic())
        return run(supervised(self._stream(body, on_text, watch), watch, self.host, options.model))

    def preload(self, options: ModelOptions, *, cancelled: threading.Event | None = None) -> Cost:
        """Load the model with the runner options that `chat` will send; returns what it cost.

        Uses the chat's limits: a client that gives up during a load aborts it, so `first_token_s` must
        exceed the longest load.
        """
        body = wire.request_body((), (), options)
        watch = Watch(self.limits, cancelled or threading.Event(), time.monotonic())
        stream = self._stream(body, lambda _text: None, watch)
        return run(supervised(stream, watch, self.host, options.model)).cost

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

    async def _stream(self, body: dict[str, Any], on_text: Callable[[str], None], watch: Watch) -> Reply:
        model = str(body["model"])
        assembly = wire.Assembly()
        async with (
            Client(self.host, self.limits.connect_s) as client,
            contextlib.aclosing(client.chunks(body, model, assembly)) as chunks,
        ):
            async for chunk in chunks:
                watch.saw_chunk(time.monotonic())
                if watch.cancelled.is_set():
                    raise cancellation(self.host, model)
                if text := assembly.add(chunk):
                    on_text(text)
                if chunk.done:
                    break  # the answer is whole: what the connection does now must not lose it
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
