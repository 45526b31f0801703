"""Ollama's wire format: encode requests, decode reply chunks, translate foreign errors. Pure."""

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

# What the official client and httpx raise. ValueError includes json.JSONDecodeError and pydantic's
# ValidationError; OSError includes the builtin ConnectionError of the client's non-streaming calls.
FOREIGN = (
    ollama.ResponseError,
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    OSError,
    ValueError,
    RecursionError,  # json.loads of a line with ten thousand brackets
)

_BUSY = frozenset({408, 425, 429, 499, 502, 503, 504})
# Narrow, and tested before the other patterns: these messages quote the model's text, which may hold any word.
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
    """One line of the stream, with the count of newer servers that the client's type lacks."""

    prompt_eval_cached_count: int | None = None


class ReplyBuilder:
    """Builds a `Reply` from the chunks of a stream."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: list[ToolCall] = []
        self._last: Chunk | None = None
        self.is_empty = True

    @property
    def text(self) -> str:
        return "".join(self._texts)

    def add(self, chunk: Chunk) -> str:
        """Add a chunk; returns its text, which may be empty."""
        self.is_empty = False
        text = chunk.message.content or ""
        self._texts.append(text)
        for call in chunk.message.tool_calls or ():
            self._calls.append(ToolCall(call.function.name, dict(call.function.arguments)))
        if chunk.done:
            self._last = chunk
        return text

    def reply(self) -> Reply | None:
        """The reply; None until the chunk with `done: true` was added."""
        if self._last is None:
            return None
        reason = self._last.done_reason or "stop"
        return Reply(self.text, tuple(self._calls), reason, cost_of(self._last))


class Encoder:
    """Encodes requests, and caches the messages of the last one: the next prompt usually begins with them."""

    def __init__(self) -> None:
        self._cached: list[tuple[ChatMessage, bytes]] = []

    def encode(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ModelOptions
    ) -> bytes:
        """The body of one streaming `/api/chat`, with keys in a fixed order. Without messages the request only
        loads the model. Raises ValueError for values that JSON cannot represent (NaN).
        """
        head = _json({"model": options.model})
        rest = _json(_settings(tools, options))
        return b'%s,"messages":[%s],%s' % (head[:-1], b",".join(self._encoded(messages)), rest[1:])

    def _encoded(self, messages: Sequence[ChatMessage]) -> list[bytes]:
        cached = self._cached
        same = 0
        # Compared by identity: comparing by value would read all of the text.
        while same < min(len(cached), len(messages)) and cached[same][0] is messages[same]:
            same += 1
        added = ((message, _json(_message(message))) for message in messages[same:])
        self._cached = [*cached[:same], *added]
        return [encoded for _, encoded in self._cached]


def _settings(tools: Sequence[ToolSpec], options: ModelOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "stream": True,
        # Without these two the server silently drops the oldest messages of a prompt that is too long.
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
    """The cost that the last chunk of a stream reports."""
    return Cost(
        prompt_tokens=chunk.prompt_eval_count,
        cached_tokens=chunk.prompt_eval_cached_count,
        generated_tokens=chunk.eval_count,
        load_ms=_ms(chunk.load_duration),
        prefill_ms=_ms(chunk.prompt_eval_duration),
        generation_ms=_ms(chunk.eval_duration),
        total_ms=_ms(chunk.total_duration),
    )


def decode(line: bytes) -> Chunk:
    """One NDJSON line. Raises ValueError (bad JSON or types), or `ollama.ResponseError` for an error line."""
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError(f"a line of the stream is not a JSON object: {line[:80]!r}")
    if error := fields.get("error"):
        raise ollama.ResponseError(error_text(error))
    return Chunk(**fields)


def error_text(error: object) -> str:
    """The message in an error body, which is text, `{"error": text}` or `{"error": {"message": text}}`."""
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
    """The `ModelError` for one of `FOREIGN`; the caller raises it `from` the original."""
    reason = _first_line(error)
    match error:
        case ollama.ResponseError():
            return refusal(error.status_code, error_text(error.error), host, model, partial_text)
        case httpx.InvalidURL() | httpx.UnsupportedProtocol() | httpx.TooManyRedirects():
            return RequestRefused(f"model host {host} cannot be used: {reason}", host=host, model=model)
        case httpx.HTTPError() | httpx.StreamError() | OSError():
            reason = reason or type(error).__name__
            if isinstance(error, httpx.ConnectError | ConnectionError):
                reason += "; is `ollama serve` running?"
            return ModelUnavailable(f"no answer from {host}: {reason}", host=host, model=model)
        case ValidationError():
            problem = "a reply with unexpected fields or types"
        case json.JSONDecodeError():
            problem = "a line that is not JSON"
        case _:
            problem = "a reply that cannot be read"
    return ReplyMalformed(
        f"{host} sent {problem}: {reason}", host=host, model=model, partial_text=partial_text
    )


def refusal(status: int, reason: str, host: str, model: str, partial_text: str = "") -> ModelError:
    """The error for an HTTP status and the server's words. Status -1 is an error line inside a 200 stream."""
    known = None if status < 0 else status
    event = f"{host} answered {status}" if status > 0 else f"{host} ended its reply with an error"
    message = f"{event}: {reason or 'no reason given'}"
    if status in (-1, 500) and _UNREADABLE.search(reason):
        return ReplyMalformed(message, host=host, model=model, status=known, partial_text=partial_text)
    kind: type[ModelError] = ModelUnavailable
    if _TOO_LONG.search(reason):
        kind = PromptTooLong
    elif status == 404 and "not found" in reason and "model" in reason:
        kind = ModelMissing
        fix = f"get it with `ollama pull {model}` or `nightcrew doctor --pull`"
        message = f"{host} does not have the model {model!r}; {fix}"
    elif status == 404:
        kind = RequestRefused
        message += "; is this the address of an Ollama server?"
    elif 0 < status < 500 and status not in _BUSY:
        kind = RequestRefused
    return kind(message, host=host, model=model, status=known)


def is_no_connection(error: ModelError) -> bool:
    """Whether the request failed because no connection to the host could be made."""
    return isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout | ConnectionRefusedError)


def _message(message: ChatMessage) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields["tool_calls"] = [
            {"function": {"name": call.name, "arguments": call.arguments}} for call in message.tool_calls
        ]
    return fields


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
    """A plain number as a number (-1 pins the model): in a string Ollama expects a unit."""
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:300]
