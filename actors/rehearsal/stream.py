"""Turns a scripted answer, and the fault that hits it, into the pieces of an HTTP response. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from actors.rehearsal.answers import Answer, ChatRequest, tokens
from actors.rehearsal.faults import FaultKind

# Faults that are a status without a stream, with the words of Ollama.
REFUSALS: dict[FaultKind | None, tuple[int, str]] = {
    FaultKind.RUNNER_DIED: (500, "llama runner process has terminated: exit status 2"),
    FaultKind.PARSE_ERROR: (500, "XML syntax error on line 3: element <parameter> closed by </function>"),
    FaultKind.BUSY: (503, "server busy, please try again.  maximum pending requests exceeded"),
    FaultKind.NOT_FOUND: (404, "model '{model}' not found"),
    FaultKind.TOO_LONG: (400, "the input length exceeds the context length"),
}
_TOKEN = re.compile(r"\s*\S{1,4}|\s+")


@dataclass(frozen=True, slots=True)
class Line:
    """One NDJSON object; `encode` adds the model's name and the time."""

    fields: dict[str, Any]

    def encode(self, model: str, now: str) -> bytes:
        head = {"model": model, "created_at": now} if "message" in self.fields else {}
        return json.dumps(head | self.fields).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that are not an NDJSON line."""

    data: bytes

    def encode(self, _model: str, _now: str) -> bytes:
        return self.data


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for `ms` milliseconds; None: until the client leaves."""

    ms: float | None


@dataclass(frozen=True, slots=True)
class Break:
    """Close the connection."""


Piece = Line | Raw | Pause | Break


def pieces_of(answer: Answer, request: ChatRequest, fault: FaultKind | None) -> list[Piece]:
    """All pieces of the response in order. `fault` is not one of `REFUSALS`."""
    answer = _with_model_fault(answer, fault)
    start: list[Piece] = [Pause(answer.delay_ms)] if answer.delay_ms else []
    if fault is FaultKind.HANG:
        return [*start, Pause(None)]
    body: list[Piece] = []
    for token in _TOKEN.findall(answer.text):
        body += [
            *_pause(answer, 1),
            Line({"message": {"role": "assistant", "content": token}, "done": False}),
        ]
    for tool, arguments in answer.calls:
        sent: object = json.dumps(arguments) if fault is FaultKind.STRING_ARGUMENTS else arguments
        call = {"function": {"name": tool, "arguments": sent}}
        message = {"role": "assistant", "content": "", "tool_calls": [call]}
        # A model generates a call token by token too, but Ollama sends it only when it is complete.
        body += [*_pause(answer, tokens(json.dumps(arguments))), Line({"message": message, "done": False})]
    return start + _with_end(body, answer, request, fault)


def _with_end(
    body: list[Piece], answer: Answer, request: ChatRequest, fault: FaultKind | None
) -> list[Piece]:
    half = body[: (len(body) + 1) // 2]
    if fault is FaultKind.STALL:
        return [*half, Pause(None)]
    if fault is FaultKind.DROP:
        return [*half, Break()]
    if fault is FaultKind.NO_DONE:
        return half
    if fault is FaultKind.GARBAGE_LINE:
        return [*half, Raw(b'{"model": "x", "message": {"role": "assis\n'), _done(answer, request, "stop")]
    if fault is FaultKind.ERROR_LINE:
        return [*half, Line({"error": "an error was encountered while running the model: unexpected EOF"})]
    return [*body, _done(answer, request, "length" if fault is FaultKind.LENGTH else "stop")]


def _with_model_fault(answer: Answer, fault: FaultKind | None) -> Answer:
    """The answer with a fault of the model; unchanged for faults of the server."""
    if fault is FaultKind.EMPTY:
        return replace(answer, text="", calls=())
    if fault is FaultKind.LENGTH:
        return replace(answer, text=answer.text[: len(answer.text) // 2], calls=())
    if fault is FaultKind.UNKNOWN_TOOL:
        return replace(answer, calls=tuple((f"{tool}_now", arguments) for tool, arguments in answer.calls))
    if fault is FaultKind.LEAKED_CALL:
        leaked = "".join(f"\n{_as_xml(tool, arguments)}\n</tool_call>" for tool, arguments in answer.calls)
        return replace(answer, text=answer.text + leaked, calls=())
    if fault is FaultKind.LEAKED_JSON:
        calls = (json.dumps({"name": tool, "arguments": arguments}) for tool, arguments in answer.calls)
        leaked = "".join(f"\n<tool_call>\n{call}\n</tool_call>" for call in calls)
        return replace(answer, text=answer.text + leaked, calls=())
    return answer


def _as_xml(tool: str, arguments: dict[str, Any]) -> str:
    rows = (
        f"<parameter={key}>\n{value if isinstance(value, str) else json.dumps(value)}\n</parameter>"
        for key, value in arguments.items()
    )
    return "\n".join((f"<function={tool}>", *rows, "</function>"))


def _pause(answer: Answer, count: int) -> list[Piece]:
    return [Pause(answer.token_delay_ms * count)] if answer.token_delay_ms else []


def _done(answer: Answer, request: ChatRequest, reason: str) -> Line:
    generated = tokens(answer.text) + sum(tokens(json.dumps(arguments)) + 8 for _, arguments in answer.calls)
    generation_ns = int(generated * answer.token_delay_ms * 1e6)
    prefill_ns = int(answer.delay_ms * 1e6)
    return Line(
        {
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": reason,
            "total_duration": prefill_ns + generation_ns + 1_000_000,
            "load_duration": 1_000_000,
            "prompt_eval_count": request.prompt_tokens,
            "prompt_eval_duration": prefill_ns,
            "eval_count": generated,
            "eval_duration": generation_ns,
        }
    )
