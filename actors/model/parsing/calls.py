"""The calls of a reply: those the server parsed and those that leaked into its text, checked. Pure.

A call in the text runs only under this strict rule, because a reply may also *talk about* tools:

1. It ends the reply: from its first character to the last there are only calls, tags and white space.
   A model that calls a tool stops there; text behind a call means an example, or a result made up.
2. It begins a line. Only `<tool_call>` may stand behind text, and `<function=` behind a full stop or colon.
3. It is not in a code block, unless the whole reply is code blocks with nothing but calls in them.
4. Its tool exists, its arguments fit, and nothing of it was cut off.

What breaks 1 or 3 but names a known tool, and what breaks 4, is not run: the model is told why.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from actors.model.parsing.coercion import Value, coerce
from actors.model.parsing.leaks import RawCall, find_leaks
from actors.model.protocol import Reply, ToolSpec


@dataclass(frozen=True, slots=True)
class ValidCall:
    """A call that may run: a known tool, declared arguments of the declared types, all required ones there.

    `index` is its place among all calls of the reply, `notes` say what was left out.
    """

    index: int
    name: str
    arguments: dict[str, Value]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RejectedCall:
    """A call that must not run, and the message for the model."""

    index: int
    name: str
    problem: str


@dataclass(frozen=True, slots=True)
class Extraction:
    """A reply taken apart: the text without its calls, the calls in order, and what to tell the model.

    `problems` are complete: those of `rejected`, in order, and then those of the reply as a whole.
    """

    text: str
    calls: tuple[ValidCall, ...] = ()
    problems: tuple[str, ...] = ()
    rejected: tuple[RejectedCall, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True if the model said nothing at all, which happens when the server swallows an unclosed call."""
        return not (self.text.strip() or self.calls or self.problems)


def extract(reply: Reply, tools: Sequence[ToolSpec]) -> Extraction:
    """All calls of a reply, leaked ones first, for they were generated first. Never raises on any text."""
    specs = {spec.name: spec for spec in tools}
    leaks = find_leaks(reply.text, frozenset(specs), is_cut=reply.done_reason == "length")
    parsed = [RawCall(call.name, call.arguments) for call in reply.tool_calls]
    judged = [_judge(index, raw, specs) for index, raw in enumerate([*leaks.calls, *parsed])]
    judged = _without_echoes(judged, len(leaks.calls))
    calls = [item for item in judged if isinstance(item, ValidCall)]
    rejected = [item for item in judged if isinstance(item, RejectedCall)]
    problems = [item.problem for item in rejected]
    if leaks.problem and not parsed:
        problems.append(leaks.problem)
    return Extraction(leaks.text, tuple(calls), tuple(problems), tuple(rejected))


def _judge(index: int, raw: RawCall, specs: dict[str, ToolSpec]) -> ValidCall | RejectedCall:
    name = raw.name.strip()
    if (spec := specs.get(name)) is None:
        return RejectedCall(index, name, _no_such_tool(name, specs))
    if raw.problem is not None:
        return RejectedCall(index, name, f"{name}: {raw.problem}")
    coerced = coerce(spec, raw.arguments)
    if coerced.problems:
        return RejectedCall(index, name, " ".join(coerced.problems))
    return ValidCall(index, name, coerced.arguments, coerced.notes)


def _without_echoes(
    judged: list[ValidCall | RejectedCall], leaked_count: int
) -> list[ValidCall | RejectedCall]:
    """Without the leaked calls that the server parsed as well: each was meant once."""
    parsed = [(item.name, item.arguments) for item in judged[leaked_count:] if isinstance(item, ValidCall)]
    echoes = [
        item
        for item in judged[:leaked_count]
        if isinstance(item, ValidCall) and (item.name, item.arguments) in parsed
    ]
    return [item for item in judged if item not in echoes] if echoes else judged


def _no_such_tool(name: str, specs: dict[str, ToolSpec]) -> str:
    nearest = difflib.get_close_matches(name[:100], specs, n=1)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    known = f"The tools are: {', '.join(specs)}." if specs else "There are no tools here: answer in text."
    return f"There is no tool {name[:100]!r}.{hint} {known}"
