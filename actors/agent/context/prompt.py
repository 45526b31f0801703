"""The prompt: built from committed history alone, so a restart sends the identical bytes.

The tail begins at a `system` entry (a fresh context). A `summary` entry in it compacts what came
before: the prompt is then the system text, the pinned entries, the summary, and the entries from
`keep_from` on. Old tool output is masked in batches, by entries that only move `mask_to`. The prefix
therefore changes only at a compaction, never from step to step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.model.protocol import ChatMessage, ToolCall
from store.entries import Entry, MaskBody, NoteBody, ReplyBody, SummaryBody, SystemBody, ToolResultBody

CHARACTERS_PER_TOKEN = 3.2  # code in Qwen's tokenizer; a low guess, replaced by the server's own counts
LEAST_TRUSTED = 2.5  # a server's count this many times below our own estimate is not believed
MASK_AT = 0.60  # share of the window at which old tool output is masked
SUMMARISE_AT = 0.75  # share at which the rest is summarised; checklists advise to compact before 0.8
KEPT_RESULTS = 6
KEPT_ENTRIES = 8
KEPT_SHARE = 0.35  # of the window, at most, in the entries that a summary leaves as they are
MASKED = "[output left out to save space; run the tool again if you need it]"
LEAST_SAVED = 0.15  # share of the window that a masking must win, else it waits for the summary
LONGEST_KEPT = 400  # characters of a tool output that masking leaves as it is


@dataclass(frozen=True, slots=True)
class Compaction:
    """Where a context was cut, from its newest summary and mask entries."""

    text: str
    pinned: tuple[int, ...]
    keep_from: int
    mask_to: int


def compaction(tail: Sequence[Entry]) -> Compaction:
    """The compaction in force: the newest text, and the furthest mask."""
    found = Compaction("", (), 0, 0)
    for entry in tail:
        body = entry.body
        if isinstance(body, SummaryBody):
            found = Compaction(body.text, body.pinned, body.keep_from, body.mask_to)
        elif isinstance(body, MaskBody):
            found = Compaction(found.text, found.pinned, found.keep_from, body.mask_to)
    return found


def prompt(tail: Sequence[Entry]) -> list[ChatMessage]:
    """The messages to send; equal histories give equal messages."""
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
    """The prompt of a context from step to step: `prompt`, built from what is new while nothing is cut.

    What was a message before is the same object again, so nobody needs to look at it twice. `text` is how many
    characters of text and calls it has, `characters` counts what the template adds too.
    """

    def __init__(self) -> None:
        self.messages: list[ChatMessage] = []
        self.text = 0
        self.characters = 0
        self._built_from = 0
        self._ends: tuple[Entry, Entry] | None = None
        self._cut = compaction(())

    def follow(self, tail: Sequence[Entry]) -> None:
        """Be the prompt of `tail`."""
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
        """Whether it was built from the beginning of `tail`: between two cuts a tail is only added to."""
        if self._ends is None or len(tail) < self._built_from:
            return False
        return tail[0] is self._ends[0] and tail[self._built_from - 1] is self._ends[1]


def _is_shown(entry: Entry) -> bool:
    """Whether the model sees it. An empty reply is left out: it would teach the model to say nothing again."""
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
    """How long the prompt is, from the server's last count where there is one, else by its `characters`, of
    messages and tools.

    The count of the newest reply covers everything before it exactly; only what came after is guessed.
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
            # A count that was cut silently, or made up, must not talk us into an over-long request.
            return counted if counted * LEAST_TRUSTED >= estimate else estimate
    return estimate


def _text(message: ChatMessage) -> int:
    return len(message.content) + sum(len(c.name) + len(str(c.arguments)) for c in message.tool_calls)


def _characters(message: ChatMessage) -> int:
    return _text(message) + 40 * len(message.tool_calls) + 8


def next_mask(tail: Sequence[Entry], room_tokens: int) -> int | None:
    """The new `mask_to`, if masking would still save something: all but the last results.

    The last `KEPT_RESULTS` stay, fewer if they take more than `KEPT_SHARE` of the room; the newest always.
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
    # A batch, not one at a time: each masking changes the prefix and costs a prefill.
    if sum(old) < room_tokens * LEAST_SAVED * CHARACTERS_PER_TOKEN:
        return None
    return results[-kept][0]


def next_keep(tail: Sequence[Entry], room_tokens: int) -> int | None:
    """Where a summary would cut: before the last entries, and never between a reply and its results.

    As many are kept as `KEPT_ENTRIES` and `KEPT_SHARE` of the room allow, but the last reply and what
    followed it always.
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
