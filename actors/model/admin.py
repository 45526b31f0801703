"""Requests to an Ollama server that are not chat: is it up, which models it has, load state, download."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import ollama

from actors.model import wire
from actors.model.address import normalise_host
from actors.model.connection import Connection, transport_options
from actors.model.errors import ModelError, ModelUnavailable, ReplyMalformed
from actors.model.protocol import Limits
from actors.model.watchdog import Watchdog

_PULL_IDLE_S = 600.0  # a server is silent for minutes while it verifies the digest of an 18 GB file


@dataclass(frozen=True, slots=True)
class HostStatus:
    """The result of `probe`. `error` is None if the host works, else it says what failed."""

    url: str
    reachable: bool
    version: str | None = None
    models: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What `/api/show` reports about a model; empty or None where the server does not say."""

    capabilities: tuple[str, ...] = ()
    context_length: int | None = None
    family: str | None = None


@dataclass(frozen=True, slots=True)
class PullProgress:
    """One line of a download: a status, and the bytes of the layer in progress."""

    status: str
    digest: str | None = None
    completed_bytes: int | None = None
    total_bytes: int | None = None


def probe(host: str, timeout_s: float = 2.0) -> HostStatus:
    """Check whether a host answers, its version and its models. Never raises: see `HostStatus.error`.

    A server that lacks `/api/version` but lists its models is fine. `timeout_s` limits the whole probe.
    """
    try:
        url = normalise_host(host)
    except ValueError as error:
        return HostStatus(host, reachable=False, error=str(error))
    with Connection(url, timeout_s) as connection:
        return connection.run(_probe(connection, timeout_s))


def show_model(host: str, model: str, limits: Limits | None = None) -> ModelFacts:
    """What a host knows about a model. Raises `ModelMissing` or another `ModelError`."""
    answer = _request(host, limits, "POST", "/api/show", {"model": model}, model)
    info, details = _dict(answer.get("model_info")), _dict(answer.get("details"))
    lengths = [v for k, v in info.items() if k.endswith(".context_length") and isinstance(v, int)]
    capabilities = tuple(str(item) for item in _list(answer.get("capabilities")))
    return ModelFacts(capabilities, lengths[0] if lengths else None, _text(details.get("family")))


def pull(host: str, model: str, limits: Limits | None = None) -> Iterator[PullProgress]:
    """Download a model; yields each line of progress. Closing the iterator stops the download, a new call
    resumes it. Raises a `ModelError`, also if the server stops without reporting "success"."""
    url, limits = normalise_host(host), limits or Limits()
    timeout = httpx.Timeout(_PULL_IDLE_S, connect=limits.connect_s)
    status = ""
    with ollama.Client(url, timeout=timeout, **transport_options(url)) as client:
        lines = client.pull(model, stream=True)
        while True:
            try:
                line = next(lines, None)
            except wire.FOREIGN as error:
                raise wire.translate(error, host=url, model=model) from error
            if line is None:
                break
            status = line.status or ""
            yield PullProgress(status, line.digest, line.completed, line.total)
    if status != "success":
        message = (
            f"{url} stopped the download of {model!r} at {status or 'nothing'!r}; run it again to resume"
        )
        raise ModelUnavailable(message, host=url, model=model)


async def _probe(connection: Connection, timeout_s: float) -> HostStatus:
    url = connection.host
    version: str | None = None
    has_answered = False
    try:
        async with asyncio.timeout(timeout_s):
            with contextlib.suppress(ModelError):
                version = _text((await _ask(connection, "GET", "/api/version")).get("version"))
                has_answered = version is not None
            rows = _list((await _ask(connection, "GET", "/api/tags")).get("models"))
    except ModelError as error:
        return HostStatus(url, has_answered, version, error=str(error))
    except TimeoutError:
        return HostStatus(url, has_answered, version, error=f"{url} did not answer within {timeout_s:g} s")
    names = (_model_name(_dict(row)) for row in rows)
    return HostStatus(url, True, version, tuple(name for name in names if name))


def _request(
    host: str,
    limits: Limits | None,
    method: str,
    path: str,
    body: dict[str, str] | None = None,
    model: str = "",
) -> dict[str, Any]:
    url, limits = normalise_host(host), limits or Limits()
    watchdog = Watchdog(limits, threading.Event(), host=url, model=model)
    with Connection(url, limits.connect_s) as connection:
        return connection.run(watchdog.run(_ask(connection, method, path, body, model)))


async def _ask(
    connection: Connection, method: str, path: str, body: dict[str, str] | None = None, model: str = ""
) -> dict[str, Any]:
    """The JSON object of one response. Raises a `ModelError`."""
    host = connection.host
    try:
        response = await connection.http.request(method, path, json=body)
        if response.status_code >= 400:
            raise wire.refusal(response.status_code, wire.error_text(response.text), host, model)
        answer = json.loads(response.content)
    except wire.FOREIGN as error:
        raise wire.translate(error, host=host, model=model) from error
    if not isinstance(answer, dict):
        raise ReplyMalformed(f"{host}{path} did not send a JSON object", host=host, model=model)
    return answer


def _model_name(row: dict[str, Any]) -> str | None:
    return _text(row.get("name")) or _text(row.get("model"))


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
