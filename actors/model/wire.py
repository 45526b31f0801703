"""Ollama's wire format: our types to request bodies, chunks to a `Reply`, foreign errors to ours. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import httpx
import ollama
from pydantic import ValidationError

from actors.model.errors import (
    ModelError,
    ModelMissing,
    ModelUnavailable,
    PromptTooLong,
    ReplyMalformed,
    RequestRefused,
)
from actors.model.protocol import ChatMessage, Cost, ModelOptions, Reply, ToolCall, ToolSpec

# What the official client and its transport raise. ValueError covers json.JSONDecodeError and pydantic's
# ValidationError; OSError covers the builtin ConnectionError of the client's non-streaming calls.
FOREIGN = (
    ollama.ResponseError,
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    OSError,
    ValueError,
    RecursionError,  # json.loads on a line of ten thousand brackets
)

_BUSY = frozenset({408, 425, 429, 499, 502, 503, 504})
# Deliberately narrow and tried first: these messages quote the model's own text, in which any word may occur.
_UNREADABLE = re.compile(
    r"error parsing tool call|failed to parse|parse error|xml syntax error|invalid character"
    r"|cannot unmarshal|unexpected end of json|element <",
    re.I,
)
_TOO_LONG = re.compile(
    r"(exceed|too long|longer than|larger than|does not fit).*(context|window|num_ctx)|prompt is too long",
    re.I | re.S,
)


class Chunk(ollama.ChatResponse):
    """One line of the stream, with the count that newer servers add and the client's types do not know."""

    prompt_eval_cached_count: int | None = None


class Assembly:
    """Chunks of one answer put together; `reply()` is None until the chunk with `done: true` came."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: list[ToolCall] = []
        self._last: Chunk | None = None
        self.is_empty = True

    @property
    def text(self) -> str:
        return "".join(self._texts)

    def add(self, chunk: Chunk) -> str:
        """Takes a chunk in and returns its piece of text, which may be empty."""
        self.is_empty = False
        text = chunk.message.content or ""
        self._texts.append(text)
        for call in chunk.message.tool_calls or ():
            self._calls.append(ToolCall(call.function.name, dict(call.function.arguments)))
        if chunk.done:
            self._last = chunk
        return text

    def reply(self) -> Reply | None:
        if self._last is None:
            return None
        reason = self._last.done_reason or "stop"
        return Reply(self.text, tuple(self._calls), reason, cost_of(self._last))


class Encoder:
    """Makes requests. Keeps what it encoded last: a prompt begins with the messages of the one before."""

    def __init__(self) -> None:
        self._messages: list[tuple[ChatMessage, bytes]] = []

    def encode(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ModelOptions
    ) -> bytes:
        """The body of one streaming `/api/chat`. Key order is fixed; without messages it loads the model.

        Raises ValueError for what JSON cannot say (NaN).
        """
        head = _json({"model": options.model})
        rest = _json(_settings(tools, options))
        return b'%s,"messages":[%s],%s' % (head[:-1], b",".join(self._encoded(messages)), rest[1:])

    def _encoded(self, messages: Sequence[ChatMessage]) -> list[bytes]:
        known = self._messages
        same = 0
        # By identity: equal ones would have to be compared, whole texts of them.
        while same < min(len(known), len(messages)) and known[same][0] is messages[same]:
            same += 1
        self._messages = [
            *known[:same],
            *((message, _json(_message(message))) for message in messages[same:]),
        ]
        return [encoded for _, encoded in self._messages]


def _settings(tools: Sequence[ToolSpec], options: ModelOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "stream": True,
        # Without these two a long prompt is cut silently, the task first, instead of refused.
        "truncate": False,
        "shift": False,
        "keep_alive": _keep_alive(options.keep_alive),
        "options": _sampling(options),
    }
    if tools:
        settings["tools"] = [tool.as_json() for tool in tools]
    return settings


def _json(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace")


def cost_of(chunk: Chunk) -> Cost:
    return Cost(
        prompt_tokens=chunk.prompt_eval_count,
        cached_tokens=chunk.prompt_eval_cached_count,
        generated_tokens=chunk.eval_count,
        load_ms=_ms(chunk.load_duration),
        prefill_ms=_ms(chunk.prompt_eval_duration),
        generation_ms=_ms(chunk.eval_duration),
        total_ms=_ms(chunk.total_duration),
    )


def parse_line(line: bytes) -> Chunk:
    """One NDJSON line. Raises ValueError (JSON, types), or `ollama.ResponseError` for an error line."""
    part = json.loads(line)
    if not isinstance(part, dict):
        raise ValueError(f"a stream line is no JSON object: {line[:80]!r}")
    if error := part.get("error"):
        raise ollama.ResponseError(error_text(error))
    return Chunk(**part)


def error_text(error: object) -> str:
    """The words of an error body, which is text, `{"error": text}` or `{"error": {"message": text}}`."""
    if isinstance(error, str):
        try:
            inner = json.loads(error)
        except ValueError:
            return error.strip()
        return error_text(inner) if isinstance(inner, dict) else error.strip()
    if isinstance(error, dict):
        inner = error.get("error") or error.get("message")
        return error_text(inner) if inner else json.dumps(error)
    return str(error)


def translate(error: Exception, *, host: str, model: str = "", partial_text: str = "") -> ModelError:
    """The `ModelError` that stands for one of `FOREIGN`; the caller raises it `from` the original."""
    if isinstance(error, ollama.ResponseError):
        return refusal(error.status_code, error_text(error.error), host, model, partial_text)
    if isinstance(error, ValidationError | json.JSONDecodeError):
        kind = (
            "an answer of the wrong shape" if isinstance(error, ValidationError) else "a line that is no JSON"
        )
        return ReplyMalformed(
            f"{host} sent {kind}: {_first_line(error)}", host=host, model=model, partial_text=partial_text
        )
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.TooManyRedirects):
        return RequestRefused(
            f"model host {host} cannot be used: {_first_line(error)}", host=host, model=model
        )
    if isinstance(error, httpx.HTTPError | httpx.StreamError | OSError):
        said = _first_line(error) or type(error).__name__
        hint = (
            "; is `ollama serve` running?" if isinstance(error, httpx.ConnectError | ConnectionError) else ""
        )
        return ModelUnavailable(f"no answer from {host}: {said}{hint}", host=host, model=model)
    return ReplyMalformed(
        f"{host} sent what cannot be read: {_first_line(error)}",
        host=host,
        model=model,
        partial_text=partial_text,
    )


def refusal(status: int, said: str, host: str, model: str, partial_text: str = "") -> ModelError:
    """The error for an HTTP status, or -1 for an error line inside a 200 stream, and the server's words."""
    known = None if status < 0 else status
    where = f"{host} answered {status}" if status > 0 else f"{host} broke off its answer"
    message = f"{where}: {said or 'no reason given'}"
    if status in (-1, 500) and _UNREADABLE.search(said):
        return ReplyMalformed(message, host=host, model=model, status=known, partial_text=partial_text)
    if _TOO_LONG.search(said):
        return PromptTooLong(message, host=host, model=model, status=known)
    if status == 404 and "not found" in said and "model" in said:
        what_next = f"get it with `ollama pull {model}` or `nightcrew doctor --pull`"
        return ModelMissing(f"{host} has no model {model!r}; {what_next}", host=host, model=model, status=404)
    if status == 404:
        return RequestRefused(
            f"{message}; is this address an Ollama server?", host=host, model=model, status=known
        )
    if 0 < status < 500 and status not in _BUSY:
        return RequestRefused(message, host=host, model=model, status=known)
    return ModelUnavailable(message, host=host, model=model, status=known)


def _message(message: ChatMessage) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        wire["tool_calls"] = [
            {"function": {"name": call.name, "arguments": call.arguments}} for call in message.tool_calls
        ]
    return wire


def _sampling(options: ModelOptions) -> dict[str, Any]:
    sampling: dict[str, Any] = {
        "num_ctx": options.context_window,
        "num_predict": options.max_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "top_k": options.top_k,
        "repeat_penalty": options.repeat_penalty,
    }
    if options.seed is not None:
        sampling["seed"] = options.seed
    return sampling


def _keep_alive(text: str) -> str | int:
    """A bare number, such as the -1 that pins a model, goes as a number: in a string Ollama wants a unit."""
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:300]
