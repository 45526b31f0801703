"""A row of an agent's history, and what each kind of row holds. Imports neither SQLAlchemy nor the store.

The class of a body decides the row's kind. `as_json` gives what the `body` column stores, `decode` reads it
back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeAlias

from store.states import EntryKind

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SystemBody:
    """The role's prompt. A fresh context begins with it."""

    entry_kind: ClassVar = EntryKind.SYSTEM
    text: str

    def as_json(self) -> Json:
        return {"text": self.text}


@dataclass(frozen=True, slots=True)
class MessageBody:
    """A message as the model reads it. `kind` is the message's kind, such as `task_assigned`."""

    entry_kind: ClassVar = EntryKind.MESSAGE
    sender: str
    kind: str
    text: str

    def as_json(self) -> Json:
        return {"sender": self.sender, "kind": self.kind, "text": self.text}


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of a reply. `arguments` is a JSON object with the argument names of the tool."""

    name: str
    arguments: Json


class ReplyCost(NamedTuple):
    """What a reply cost, as the server reported it; None where it reported nothing.

    `queue_ms` is the wait for a model slot, `prompt_characters` the size of the prompt with its tools. A tuple,
    because one is made for each reply that is loaded, and a frozen dataclass takes twice the time.
    """

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    generated_tokens: int | None = None
    load_ms: float | None = None
    prefill_ms: float | None = None
    generation_ms: float | None = None
    total_ms: float | None = None
    queue_ms: float | None = None
    prompt_characters: int | None = None

    def as_json(self) -> Json:
        """The figures that are known."""
        return {name: value for name, value in zip(self._fields, self, strict=True) if value is not None}


NO_COST = ReplyCost()


@dataclass(frozen=True, slots=True)
class ReplyBody:
    """A reply of the model. Its calls are run in order. `problems`: errors in the reply that the model must correct.

    `stream` is the number of the model call whose text was streamed to the screen.
    """

    entry_kind: ClassVar = EntryKind.REPLY
    text: str
    calls: tuple[Call, ...] = ()
    problems: tuple[str, ...] = ()
    done_reason: str = "stop"
    cost: ReplyCost = NO_COST
    host: str = ""
    stream: int | None = None

    def as_json(self) -> Json:
        return {
            "text": self.text,
            "calls": [{"name": call.name, "arguments": call.arguments} for call in self.calls],
            "problems": list(self.problems),
            "done_reason": self.done_reason,
            "cost": self.cost.as_json(),
            "host": self.host,
            "stream": self.stream,
        }


@dataclass(frozen=True, slots=True)
class ToolResultBody:
    """The result of call number `position` of the reply in row `reply`.

    `settled`: the call was interrupted, and its result was determined afterwards.
    """

    entry_kind: ClassVar = EntryKind.TOOL_RESULT
    reply: int
    position: int
    tool: str
    text: str
    ok: bool
    settled: bool = False

    def as_json(self) -> Json:
        return {
            "reply": self.reply,
            "position": self.position,
            "tool": self.tool,
            "text": self.text,
            "ok": self.ok,
            "settled": self.settled,
        }


@dataclass(frozen=True, slots=True)
class NudgeBody:
    """A reminder or correction that code, not a person or an agent, addresses to the model."""

    entry_kind: ClassVar = EntryKind.NUDGE
    text: str
    reason: str

    def as_json(self) -> Json:
        return {"text": self.text, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class SummaryBody:
    """A compaction: `text` replaces the rows before `keep_from`, except `system` and the `pinned` ones.

    All numbers are ids of rows. Long tool output of rows before `mask_to` is left out of the prompt.
    """

    entry_kind: ClassVar = EntryKind.SUMMARY
    text: str
    system: int
    pinned: tuple[int, ...]
    keep_from: int
    mask_to: int

    def as_json(self) -> Json:
        return {
            "text": self.text,
            "system": self.system,
            "pinned": list(self.pinned),
            "keep_from": self.keep_from,
            "mask_to": self.mask_to,
        }


@dataclass(frozen=True, slots=True)
class MaskBody:
    """A compaction without a summary: it only moves `mask_to`. Stored as a summary with an empty text."""

    entry_kind: ClassVar = EntryKind.SUMMARY
    text: ClassVar = ""
    mask_to: int

    def as_json(self) -> Json:
        return {"text": "", "mask_to": self.mask_to}


@dataclass(frozen=True, slots=True)
class NoteBody:
    """A remark for people. No prompt contains it."""

    entry_kind: ClassVar = EntryKind.NOTE
    text: str

    def as_json(self) -> Json:
        return {"text": self.text}


Body: TypeAlias = (
    SystemBody | MessageBody | ReplyBody | ToolResultBody | NudgeBody | SummaryBody | MaskBody | NoteBody
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One history row.

    `message`: id of the message that the agent was handling. `task`: id of its current task. `created_at`: UTC
    seconds.
    """

    id: int
    agent: str
    body: Body
    message: int | None
    task: int | None
    created_at: float

    @property
    def kind(self) -> EntryKind:
        return self.body.entry_kind


def decode(kind: str, value: Json) -> Body:
    """The body of a row of this kind.

    Raises `KeyError` for an unknown kind, and for tool results and summaries that lack a key.
    """
    return _DECODERS[kind](value)


def _text(value: Json) -> str:
    text: str = value.get("text", "")
    return text


def _message(value: Json) -> MessageBody:
    return MessageBody(value.get("sender", "?"), value.get("kind", ""), _text(value))


def _reply(value: Json) -> ReplyBody:
    return ReplyBody(
        _text(value),
        tuple([Call(call["name"], call["arguments"]) for call in value.get("calls", ())]),
        tuple(value.get("problems", ())),
        value.get("done_reason", "stop"),
        ReplyCost._make(map(value.get("cost", {}).get, ReplyCost._fields)),
        value.get("host", ""),
        value.get("stream"),
    )


def _tool_result(value: Json) -> ToolResultBody:
    return ToolResultBody(
        value["reply"],
        value["position"],
        value["tool"],
        value["text"],
        value["ok"],
        value["settled"],
    )


def _summary(value: Json) -> SummaryBody | MaskBody:
    if not value["text"]:
        return MaskBody(value["mask_to"])
    pinned = tuple(value["pinned"])
    return SummaryBody(value["text"], value["system"], pinned, value["keep_from"], value["mask_to"])


_DECODERS: dict[str, Callable[[Json], Body]] = {
    EntryKind.SYSTEM: lambda value: SystemBody(_text(value)),
    EntryKind.MESSAGE: _message,
    EntryKind.REPLY: _reply,
    EntryKind.TOOL_RESULT: _tool_result,
    EntryKind.NUDGE: lambda value: NudgeBody(_text(value), value.get("reason", "")),
    EntryKind.SUMMARY: _summary,
    EntryKind.NOTE: lambda value: NoteBody(_text(value)),
}
