"""Checks the calls of a reply, both those that the server parsed and those found in its text.

A reply may also talk about tools. So a call in the text runs only if all of these hold:

1. It ends the reply: only calls, tags and white space follow its first character. A model that calls a tool stops
   there; text after a call means that the call is an example, or that the model made up its result.
2. It starts a line. `<tool_call>` may follow any text, `<function=` only '.', ':', '!', '?' or ')'.
3. It is not in a code block, unless the whole reply is code blocks that contain only calls.
4. Its tool exists, its arguments fit, and no part of it was cut off.

A call of a known tool that breaks rule 1 or 3, and any call that breaks rule 4, does not run, and the model is told
why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.model.parsing.coercion import Value, coerce
from actors.model.parsing.leaks import RawCall, find_leaks
from actors.model.protocol import Reply, ToolSpec
from actors.text import similar


@dataclass(frozen=True, slots=True)
class ValidCall:
    """A call that may run: its tool is known, and its arguments are complete and of the declared types.

    `index` is its position among all calls of the reply. `notes` name the arguments that were left out.
    """

    index: int
    name: str
    arguments: dict[str, Value]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RejectedCall:
    """A call that must not run. `problem` is the message for the model."""

    index: int
    name: str
    problem: str


@dataclass(frozen=True, slots=True)
class Extraction:
    """A reply without its calls, the calls in order, and the messages for the model.

    `problems` are those of `rejected` in order, then those of the reply as a whole.
    """

    text: str
    calls: tuple[ValidCall, ...] = ()
    problems: tuple[str, ...] = ()
    rejected: tuple[RejectedCall, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the reply holds nothing, as happens when the server drops an unclosed call."""
        return not (self.text.strip() or self.calls or self.problems)


def extract(reply: Reply, tools: Sequence[ToolSpec]) -> Extraction:
    """All calls of a reply. Those in the text come first, because they were generated first. Never raises."""
    specs = {spec.name: spec for spec in tools}
    leaks = find_leaks(reply.text, frozenset(specs), is_cut=reply.done_reason == "length")
    parsed = [RawCall(call.name, call.arguments) for call in reply.tool_calls]
    checked = [_check(index, raw, specs) for index, raw in enumerate([*leaks.calls, *parsed])]
    checked = _without_duplicates(checked, len(leaks.calls))
    calls = [item for item in checked if isinstance(item, ValidCall)]
    rejected = [item for item in checked if isinstance(item, RejectedCall)]
    problems = [item.problem for item in rejected]
    if leaks.problem and not parsed:
        problems.append(leaks.problem)
    return Extraction(leaks.text, tuple(calls), tuple(problems), tuple(rejected))


def _check(index: int, raw: RawCall, specs: dict[str, ToolSpec]) -> ValidCall | RejectedCall:
    name = raw.name.strip()
    if (spec := specs.get(name)) is None:
        return RejectedCall(index, name, _no_such_tool(name, specs))
    if raw.problem is not None:
        return RejectedCall(index, name, f"{name}: {raw.problem}")
    coerced = coerce(spec, raw.arguments)
    if coerced.problems:
        return RejectedCall(index, name, " ".join(coerced.problems))
    return ValidCall(index, name, coerced.arguments, coerced.notes)


def _without_duplicates(
    checked: list[ValidCall | RejectedCall], leaked_count: int
) -> list[ValidCall | RejectedCall]:
    """The calls without those in the text that the server has parsed too."""
    parsed = [(item.name, item.arguments) for item in checked[leaked_count:] if isinstance(item, ValidCall)]
    duplicates = [
        item
        for item in checked[:leaked_count]
        if isinstance(item, ValidCall) and (item.name, item.arguments) in parsed
    ]
    return [item for item in checked if item not in duplicates] if duplicates else checked


def _no_such_tool(name: str, specs: dict[str, ToolSpec]) -> str:
    near = similar(name, specs, most=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    known = f"The tools are: {', '.join(specs)}." if specs else "There are no tools here: answer in text."
    return f"There is no tool {name[:100]!r}.{hint} {known}"
