"""Finds tool calls that a model wrote into its text: Qwen3-Coder's XML and JSON, with and without their tags.

`calls.py` states the rules for such calls. All scans are bounded, so that no text can block an agent.
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from actors.model.parsing.coercion import parse_object

_MAX_TEXT_CHARS = 200_000  # more than a 32k window can hold
_MAX_ATTEMPTS = 50

_START = re.compile(
    r"(?<!`)<tool_call>"
    r"|(?:^|(?<=[.:!?)]) ?)[ \t]*(?:<function\b|</tool_call>\s*<function\b)"
    r"|^[ \t]*(?:\{\s*\"|\[\s*\{\s*\")",
    re.MULTILINE,
)
_FILLER = re.compile(r"(?:\s+|</?tool_calls?>|</function>|<\|(?:im_end|endoftext)\|>)+")
_FUNCTION = re.compile(r"<function(?:\s*=\s*|\s+name\s*=\s*)[\"']?([^\s<>=\"']{1,100})[\"']?\s*>")
_PARAMETER = re.compile(r"\s*<parameter(?:\s*=\s*|\s+name\s*=\s*)[\"']?([^\s<>=\"']{1,100})[\"']?\s*>")
# What may follow a closing tag. If anything else follows, the tag is part of the value.
_NEXT = r"(?=\s*(?:<parameter\b|</function>|</?tool_calls?>|<function\b|<\||\Z))"
_AFTER = r"(?=\s*(?:</?tool_calls?>|<function\b|<\||\Z))"
_VALUE_END = re.compile(rf"</parameter>{_NEXT}|</(?:function|tool_call)>{_AFTER}")
_FUNCTION_END = re.compile(rf"</function>{_AFTER}|</tool_call>")
_NEXT_PARAMETER = re.compile(r"\n[ \t]*<parameter=([^\s<>=\"']{1,100})>")
_CLOSING_FUNCTION = re.compile(r"\s*</function>")
_JSON_CALL = re.compile(r'\{\s*"name"\s*:\s*"([^"\\\s]{1,100})"\s*,\s*"(?:arguments|parameters)"\s*:')
_TAG_LINE = re.compile(r"^[ \t]*<tool_call>", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[^\n`]*$", re.MULTILINE)
_CALL_KEYS = frozenset({"name", "arguments", "parameters", "type", "id"})

_CUT = "the call was cut off before its end and was not run. Send it again, whole; split long content."


@dataclass(frozen=True, slots=True)
class RawCall:
    """A call as written, with unchecked `arguments`. `problem` says why it cannot be read completely."""

    name: str
    arguments: object
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Leaks:
    """The text without its calls, the calls, and the message for the model about calls that do not run."""

    text: str
    calls: tuple[RawCall, ...] = ()
    problem: str | None = None


def find_leaks(text: str, known: frozenset[str], *, is_cut: bool) -> Leaks:
    """Find the calls in a reply's text. `is_cut`: the token limit ended the reply, so its last call is incomplete."""
    if len(text) > _MAX_TEXT_CHARS:
        return Leaks(text)
    if (fenced := _only_fenced_calls(text)) is not None:
        return Leaks("", _cut_last(fenced, is_cut))
    fences = [match.start() for match in _FENCE.finditer(text)]
    stray = False
    consumed = attempts = 0
    for start in (match.start() for match in _START.finditer(text)):
        if start < consumed or _is_fenced(start, fences):
            continue
        attempts += 1
        if attempts > _MAX_ATTEMPTS:
            break
        calls, end = _sequence(text, start)
        if end == len(text) and calls:
            if stray:
                break
            return Leaks(text[:start].rstrip(), _cut_last(calls, is_cut))
        stray = stray or any(call.name in known for call in calls)
        consumed = end if calls else consumed
    return Leaks(text, problem=_not_run(text, known, stray))


def _cut_last(calls: list[RawCall], is_cut: bool) -> tuple[RawCall, ...]:
    if not is_cut:
        return tuple(calls)
    return (*calls[:-1], RawCall(calls[-1].name, calls[-1].arguments, calls[-1].problem or _CUT))


def _not_run(text: str, known: frozenset[str], stray: bool) -> str | None:
    """The message about calls in the text that do not run; None without any. `stray`: one has text after it."""
    if stray:
        return (
            "A tool call with text behind it was not run. If you meant it, send it again as the last thing "
            "in your reply, and write nothing after it."
        )
    if any(call.name in known for body in _fenced_bodies(text) for call in _whole(body) or ()):
        return "A tool call in a code block was not run. If you meant it, call the tool itself, without text."
    fences = [match.start() for match in _FENCE.finditer(text)]
    if any(not _is_fenced(found.start(), fences) for found in _TAG_LINE.finditer(text)):
        return (
            "What follows <tool_call> in your reply cannot be read as a call; nothing was run. Send it again."
        )
    return None


# --- code blocks ---


def _is_fenced(position: int, fences: list[int]) -> bool:
    return bisect.bisect_left(fences, position) % 2 == 1


def _fenced_bodies(text: str) -> list[str]:
    marks = list(_FENCE.finditer(text))
    ends = [mark.start() for mark in marks[1::2]] + [len(text)]
    return [text[mark.end() : end] for mark, end in zip(marks[::2], ends, strict=False)]


def _only_fenced_calls(text: str) -> list[RawCall] | None:
    """The calls of a reply that consists of code blocks of calls; None for any other reply."""
    marks = list(_FENCE.finditer(text))
    if not marks or text[: marks[0].start()].strip():
        return None
    closed = len(marks) > 1 and not text[marks[-1].end() :].strip()
    # Try the text as one block first: the content of a call may have fences.
    whole = _whole(text[marks[0].end() : marks[-1].start() if closed else len(text)])
    if whole:
        return whole
    between = [text[one.end() : two.start()] for one, two in zip(marks[1::2], marks[2::2], strict=False)]
    if any(piece.strip() for piece in between) or (len(marks) % 2 == 0 and not closed):
        return None
    calls: list[RawCall] = []
    for body in _fenced_bodies(text):
        block = _whole(body)
        if not block:
            return None
        calls += block
    return calls


def _whole(body: str) -> list[RawCall] | None:
    calls, end = _sequence(body, 0)
    return calls if calls and end == len(body) else None


# --- calls ---


def _sequence(text: str, position: int) -> tuple[list[RawCall], int]:
    """The calls from `position` on, with tags and white space between them, and the position where they end."""
    calls: list[RawCall] = []
    while True:
        if filler := _FILLER.match(text, position):
            position = filler.end()
        read = _xml_call(text, position) or _json_calls(text, position)
        if read is None:
            return calls, position
        calls += read[0]
        position = read[1]


def _xml_call(text: str, position: int) -> tuple[list[RawCall], int] | None:
    opening = _FUNCTION.match(text, position)
    if opening is None:
        return None
    name, position = opening[1], opening.end()
    if text[position : position + 200].lstrip().startswith("{"):
        return _json_body(text, name, position)
    arguments: dict[str, str] = {}
    while parameter := _PARAMETER.match(text, position):
        end = _value_end(text, parameter.end(), arguments)
        if end is None:
            return [RawCall(name, arguments, _CUT)], len(text)
        if parameter[1] in arguments:
            problem = f"argument {parameter[1]!r} was given twice; the call was not run. Give it once."
            return [RawCall(name, arguments, problem)], end[1]
        arguments[parameter[1]] = _unwrapped(text[parameter.end() : end[0]])
        position = end[1]
    closing = _CLOSING_FUNCTION.match(text, position)
    return [RawCall(name, arguments)], closing.end() if closing else position


def _value_end(text: str, start: int, seen: Mapping[str, str]) -> tuple[int, int] | None:
    """The end of the value and the start of what follows; None if the text ends inside the value."""
    closing = _VALUE_END.search(text, start)
    limit = closing.start() if closing else len(text)
    # The closing tag is missing if a line begins another parameter.
    following = _NEXT_PARAMETER.search(text, start, limit)
    if following and following[1] not in seen and "</parameter>" not in text[start:limit]:
        return following.start(), following.start()
    if closing is None:
        return None
    return closing.start(), closing.end() if closing[0] == "</parameter>" else closing.start()


def _unwrapped(value: str) -> str:
    """The value without the line break that the format adds before and after it."""
    value = value.removeprefix("\r").removeprefix("\n")
    return value.removesuffix("\n").removesuffix("\r") if value.endswith("\n") else value


def _json_body(text: str, name: str, position: int) -> tuple[list[RawCall], int]:
    """`<function=NAME>{"path": …}</function>`."""
    closing = _FUNCTION_END.search(text, position)
    arguments = parse_object(text[position : closing.start() if closing else len(text)])
    end = closing.end() if closing else len(text)
    if arguments is None:
        return [RawCall(name, {}, "the arguments are no valid JSON. Send the call again.")], end
    return [RawCall(name, arguments)], end


def _json_calls(text: str, position: int) -> tuple[list[RawCall], int] | None:
    if text[position : position + 1] not in ("{", "["):
        return None
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text, position)
    except (ValueError, RecursionError):
        return _repaired_json(text, position)
    calls = _calls_in(value)
    return None if calls is None else (calls, end)


def _repaired_json(text: str, position: int) -> tuple[list[RawCall], int] | None:
    """The calls in JSON with trailing commas or without closing brackets, up to a closing tag or the end."""
    begun = _JSON_CALL.match(text, position)
    if begun is None:
        return None
    closing = text.find("</tool_call>", position)
    end = len(text) if closing < 0 else closing
    for brackets in ("", "}", "}}", "}]", "}}]"):
        value = parse_object(text[position:end].rstrip() + brackets)
        if value is not None:
            calls = _calls_in(value)
            return None if calls is None else (calls, end)
    return [RawCall(begun[1], {}, "the call is no valid JSON and was not run. Send it again.")], end


def _calls_in(value: object) -> list[RawCall] | None:
    """The calls in a JSON value; None if it is anything else, such as a package.json."""
    if isinstance(value, dict) and set(value) == {"tool_calls"}:
        value = value["tool_calls"]
    items = value if isinstance(value, list) else [value]
    calls = [_call_in(item) for item in items]
    whole = [call for call in calls if call is not None]
    return whole if whole and len(whole) == len(calls) else None


def _call_in(value: object) -> RawCall | None:
    if not isinstance(value, dict):
        return None
    if isinstance(function := value.get("function"), dict) and set(value) <= {"type", "id", "function"}:
        value = function
    name = value.get("name")
    if not isinstance(name, str) or not set(value) <= _CALL_KEYS:
        return None
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        arguments = parse_object(arguments) if arguments.strip() else {}
    return RawCall(name, arguments) if isinstance(arguments, dict) else None
