"""A rehearsed answer as the pieces that go over the wire, with the fault that spoils it. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from actors.rehearsal.faults import FaultKind
from actors.rehearsal.playing import Answer, Asked, tokens

# The status and words of Ollama, for faults that answer without a stream.
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
    """One NDJSON object; the model's name and the time are added when it is sent."""

    fields: dict[str, Any]

    def encode(self, model: str, now: str) -> bytes:
        head = {"model": model, "created_at": now} if "message" in self.fields else {}
        return json.dumps(head | self.fields).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that are no NDJSON line."""

    data: bytes

    def encode(self, _model: str, _now: str) -> bytes:
        return self.data


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence for `ms`; None is for ever."""

    ms: float | None


@dataclass(frozen=True, slots=True)
class Break:
    """The connection dies here."""


Piece = Line | Raw | Pause | Break


def plan(said: Answer, asked: Asked, fault: FaultKind | None) -> list[Piece]:
    """All pieces of the answer, in order. `fault` is none of `REFUSALS`."""
    said = _spoiled(said, fault)
    start: list[Piece] = [Pause(said.delay_ms)] if said.delay_ms else []
    if fault is FaultKind.HANG:
        return [*start, Pause(None)]
    body: list[Piece] = []
    for token in _TOKEN.findall(said.text):
        body += [*_pause(said, 1), Line({"message": {"role": "assistant", "content": token}, "done": False})]
    for tool, arguments in said.calls:
        told: object = json.dumps(arguments) if fault is FaultKind.STRING_ARGUMENTS else arguments
        call = {"function": {"name": tool, "arguments": told}}
        message = {"role": "assistant", "content": "", "tool_calls": [call]}
        # A call is generated token by token too, but Ollama sends it only when it is whole.
        body += [*_pause(said, tokens(json.dumps(arguments))), Line({"message": message, "done": False})]
    return start + _ended(body, said, asked, fault)


def _ended(body: list[Piece], said: Answer, asked: Asked, fault: FaultKind | None) -> list[Piece]:
    half = body[: (len(body) + 1) // 2]
    if fault is FaultKind.STALL:
        return [*half, Pause(None)]
    if fault is FaultKind.DROP:
        return [*half, Break()]
    if fault is FaultKind.NO_DONE:
        return half
    if fault is FaultKind.GARBAGE_LINE:
        return [*half, Raw(b'{"model": "x", "message": {"role": "assis\n'), _done(said, asked, "stop")]
    if fault is FaultKind.ERROR_LINE:
        return [*half, Line({"error": "an error was encountered while running the model: unexpected EOF"})]
    return [*body, _done(said, asked, "length" if fault is FaultKind.LENGTH else "stop")]


def _spoiled(said: Answer, fault: FaultKind | None) -> Answer:
    """The answer as a model would garble it."""
    if fault is FaultKind.EMPTY:
        return replace(said, text="", calls=())
    if fault is FaultKind.LENGTH:
        return replace(said, text=said.text[: len(said.text) // 2], calls=())
    if fault is FaultKind.UNKNOWN_TOOL:
        return replace(said, calls=tuple((f"{tool}_now", arguments) for tool, arguments in said.calls))
    if fault is FaultKind.LEAKED_CALL:
        leaked = "".join(f"\n{_as_xml(tool, arguments)}\n</tool_call>" for tool, arguments in said.calls)
        return replace(said, text=said.text + leaked, calls=())
    if fault is FaultKind.LEAKED_JSON:
        calls = (json.dumps({"name": tool, "arguments": arguments}) for tool, arguments in said.calls)
        leaked = "".join(f"\n<tool_call>\n{call}\n</tool_call>" for call in calls)
        return replace(said, text=said.text + leaked, calls=())
    return said


def _as_xml(tool: str, arguments: dict[str, Any]) -> str:
    rows = (
        f"<parameter={key}>\n{value if isinstance(value, str) else json.dumps(value)}\n</parameter>"
        for key, value in arguments.items()
    )
    return "\n".join((f"<function={tool}>", *rows, "</function>"))


def _pause(said: Answer, count: int) -> list[Piece]:
    return [Pause(said.token_delay_ms * count)] if said.token_delay_ms else []


def _done(said: Answer, asked: Asked, reason: str) -> Line:
    generated = tokens(said.text) + sum(tokens(json.dumps(arguments)) + 8 for _, arguments in said.calls)
    generation_ns = int(generated * said.token_delay_ms * 1e6)
    prefill_ns = int(said.delay_ms * 1e6)
    return Line(
        {
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": reason,
            "total_duration": prefill_ns + generation_ns + 1_000_000,
            "load_duration": 1_000_000,
            "prompt_eval_count": asked.prompt_tokens,
            "prompt_eval_duration": prefill_ns,
            "eval_count": generated,
            "eval_duration": generation_ns,
        }
    )
