"""The prompt, built from committed history alone, so that a restarted agent sends the identical bytes.

A "tail" is the part of an agent's history since its last fresh context, which begins with a `system` entry. A
`summary` entry in it replaces what came before: the prompt is then the system text, the pinned entries, the
summary, and the entries from `keep_from` on. Old tool output is masked in batches, by `mask` entries that move
`mask_to`. So the beginning of the prompt changes only at a compaction, not from step to step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.model.protocol import ChatMessage, ToolCall
from store.entries import Entry, MaskBody, NoteBody, ReplyBody, SummaryBody, SystemBody, ToolResultBody

CHARACTERS_PER_TOKEN = 3.2  # code in Qwen's tokenizer; a low estimate, used until the server reports a count
LEAST_TRUSTED = 2.5  # a server's count is ignored if our estimate is this many times higher
MASK_AT = 0.60  # share of the window at which old tool output is masked
SUMMARISE_AT = 0.75  # share at which old entries are summarised
KEPT_RESULTS = 6
KEPT_ENTRIES = 8
KEPT_SHARE = 0.35  # largest share of the window for the entries that are not summarised
MASKED = "[output left out to save space; run the tool again if you need it]"
LEAST_SAVED = 0.15  # share of the window that masking must save, or else only the summary follows
LONGEST_KEPT = 400  # characters; shorter tool output is not masked


@dataclass(frozen=True, slots=True)
class Compaction:
    """What the summary and mask entries of a tail say: the newest summary, and up to which row output is masked."""

    text: str
    pinned: tuple[int, ...]
    keep_from: int
    mask_to: int


def compaction(tail: Sequence[Entry]) -> Compaction:
    """The compaction that applies to a tail."""
    found = Compaction("", (), 0, 0)
    for entry in tail:
        body = entry.body
        if isinstance(body, SummaryBody):
            found = Compaction(body.text, body.pinned, body.keep_from, body.mask_to)
        elif isinstance(body, MaskBody):
            found = Compaction(found.text, found.pinned, found.keep_from, body.mask_to)
    return found


def prompt(tail: Sequence[Entry]) -> list[ChatMessage]:
    """The messages to send. Equal tails give equal messages."""
    cut = compaction(tail)
    messages: list[ChatMessage] = []
    summary_due = bool(cut.text)
    for entry in tail:
        if not _is_shown(entry):
            continue
        if cut.text and entry.id < cut.keep_from and not isinstance(entry.body, SystemBody):
            if entry.id in cut.pinned:
                messages.append(_message(entry, 0))
            continue
        if summary_due and not isinstance(entry.body, SystemBody):
            messages.append(ChatMessage("user", f"What was done so far, in short:\n{cut.text}"))
            summary_due = False
        messages.append(_message(entry, cut.mask_to))
    if summary_due:
        messages.append(ChatMessage("user", f"What was done so far, in short:\n{cut.text}"))
    return messages


class GrowingPrompt:
    """The prompt of a growing tail: the result of `prompt`, extended by the new entries until a compaction.

    Messages from before stay the same objects, so a request encoder may reuse their encoding. `text` counts the
    characters of text and calls, `characters` those of the model's chat template too.
    """

    def __init__(self) -> None:
        self.messages: list[ChatMessage] = []
        self.text = 0
        self.characters = 0
        self._built_from = 0
        self._ends: tuple[Entry, Entry] | None = None
        self._cut = compaction(())

    def follow(self, tail: Sequence[Entry]) -> None:
        """Update to the prompt of `tail`."""
        cut = compaction(tail)
        if cut == self._cut and self._begins(tail):
            new = [_message(e, cut.mask_to) for e in tail[self._built_from :] if _is_shown(e)]
        else:
            self.messages, self.text, self.characters, new = [], 0, 0, prompt(tail)
        self.messages += new
        self.text += sum(map(_text, new))
        self.characters += sum(map(_characters, new))
        self._built_from, self._cut = len(tail), cut
        self._ends = (tail[0], tail[-1]) if tail else None

    def _begins(self, tail: Sequence[Entry]) -> bool:
        """Whether the messages so far are those of the beginning of `tail`. Without a compaction, tails only grow."""
        if self._ends is None or len(tail) < self._built_from:
            return False
        return tail[0] is self._ends[0] and tail[self._built_from - 1] is self._ends[1]


def _is_shown(entry: Entry) -> bool:
    """Whether the model sees the entry. Empty replies are left out, or the model would imitate them."""
    body = entry.body
    if isinstance(body, ReplyBody):
        return bool(body.text or body.calls)
    return not isinstance(body, NoteBody | SummaryBody | MaskBody)


def _message(entry: Entry, mask_to: int) -> ChatMessage:
    match entry.body:
        case SystemBody(text=text):
            return ChatMessage("system", text)
        case ReplyBody(text=text, calls=calls):
            return ChatMessage("assistant", text, tuple(ToolCall(c.name, c.arguments) for c in calls))
        case ToolResultBody(text=text):
            masked = entry.id < mask_to and len(text) > LONGEST_KEPT
            return ChatMessage("tool", MASKED if masked else text)
        case other:
            return ChatMessage("user", other.text)


def tokens(tail: Sequence[Entry], characters: int) -> int:
    """The prompt's length in tokens. `characters`: of its messages and tools.

    The server's count for the newest reply covers everything before that reply; the rest is estimated. Without
    a count the whole prompt is estimated from its characters.
    """
    estimate = int(characters / CHARACTERS_PER_TOKEN)
    for index in range(len(tail) - 1, -1, -1):
        body = tail[index].body
        if isinstance(body, SummaryBody | MaskBody):
            break
        if isinstance(body, ReplyBody) and body.cost.prompt_tokens:
            rest = [later for later in tail[index + 1 :] if not isinstance(later.body, NoteBody)]
            # None of them is masked: a mask is an entry of its own, and ends this walk.
            new = sum(_characters(_message(later, 0)) for later in rest) / CHARACTERS_PER_TOKEN
            counted = int(body.cost.prompt_tokens + (body.cost.generated_tokens or 0) + new)
            # A server that cut the prompt, or invents a count, must not cause a request that is too long.
            return counted if counted * LEAST_TRUSTED >= estimate else estimate
    return estimate


def _text(message: ChatMessage) -> int:
    return len(message.content) + sum(len(c.name) + len(str(c.arguments)) for c in message.tool_calls)


def _characters(message: ChatMessage) -> int:
    return _text(message) + 40 * len(message.tool_calls) + 8


def next_mask(tail: Sequence[Entry], room_tokens: int) -> int | None:
    """The new `mask_to`, which masks all but the newest results; None if that would save too little.

    The last `KEPT_RESULTS` are kept, or fewer if they take more than `KEPT_SHARE` of `room_tokens`. The newest
    one is always kept.
    """
    cut = compaction(tail)
    start = max(cut.keep_from, cut.mask_to)
    results = [(e.id, len(e.body.text)) for e in tail if isinstance(e.body, ToolResultBody) and e.id >= start]
    characters = 0
    kept = 0
    for _, length in reversed(results[-KEPT_RESULTS:]):
        characters += length
        if kept and characters > room_tokens * KEPT_SHARE * CHARACTERS_PER_TOKEN:
            break
        kept += 1
    old = [length for _, length in results[: len(results) - kept] if length > LONGEST_KEPT]
    # In batches, because each masking changes the prompt's beginning, which the server must then read again.
    if sum(old) < room_tokens * LEAST_SAVED * CHARACTERS_PER_TOKEN:
        return None
    return results[-kept][0]


def next_keep_from(tail: Sequence[Entry], room_tokens: int) -> int | None:
    """The id of the first entry that a summary would keep; None if nothing can be summarised.

    It is always a reply, so that no reply is separated from its results. As many entries are kept as
    `KEPT_ENTRIES` and `KEPT_SHARE` of `room_tokens` allow, but at least the last reply and what followed it.
    """
    cut = compaction(tail)
    never_kept = NoteBody | SummaryBody | MaskBody | SystemBody
    kept = [e for e in tail if e.id >= cut.keep_from and not isinstance(e.body, never_kept)]
    most_characters = room_tokens * KEPT_SHARE * CHARACTERS_PER_TOKEN
    chosen: int | None = None
    characters = 0
    for count, entry in enumerate(reversed(kept), start=1):
        characters += _characters(_message(entry, cut.mask_to))
        if chosen is not None and characters > most_characters:
            break
        if isinstance(entry.body, ReplyBody):
            chosen = entry.id
            if count > KEPT_ENTRIES:
                break
    return chosen if chosen is not None and chosen > cut.keep_from else None
