"""Keeps an agent's prompt inside the context window of its model."""

from __future__ import annotations

from collections.abc import Sequence

from actors import log
from actors.agent.context import prompt
from actors.agent.context.summary import written_summary
from actors.agent.state import WorkingState
from actors.model.protocol import ChatMessage, ModelOptions
from actors.model.truncation import PromptSize, was_cut
from store import incidents
from store.engine import Transaction
from store.entries import MaskBody, ReplyBody, ReplyCost, SummaryBody
from store.states import IncidentKind


class ContextWindow:
    """The prompt of one agent, compacted before it outgrows the window."""

    def __init__(self, state: WorkingState, options: ModelOptions) -> None:
        self._state = state
        self._runtime = state.runtime
        self._memory = state.memory
        self._options = options
        self._tokens = options.context_window  # lowered when a server reads less than the configured window
        self._prompt = prompt.GrowingPrompt()
        self._cut_in: int | None = None  # id of the context's first row for which a cut prompt was recorded
        self._must_compact = False

    @property
    def messages(self) -> Sequence[ChatMessage]:
        """The prompt to send, after `compact` has returned False."""
        return self._prompt.messages

    @property
    def characters(self) -> int:
        """Characters of the prompt and its tools."""
        return self._prompt.text + self._state.tools_characters

    def compact(self, *, force: bool = False) -> bool:
        """Mask old tool output or summarise old rows if the prompt takes too much of the window.

        Returns whether it did; the caller then checks for messages before it calls again. `force`: also if the
        prompt is short.
        """
        force, self._must_compact = force or self._must_compact, False
        used = self._used()
        if not force and used < min(prompt.MASK_AT, prompt.SUMMARISE_AT):
            return False
        mask_to = prompt.next_mask(self._memory.entries, self._room())
        if mask_to is not None and (force or used >= prompt.MASK_AT):
            log.info("context_masked", actor=self._runtime.name, used=round(used, 2))
            now = self._runtime.clock()
            self._state.write(lambda tx: self._memory.mask(tx, mask_to, now=now))
            return True
        keep_from = prompt.next_keep_from(self._memory.entries, self._room())
        if keep_from is not None and (force or used >= prompt.SUMMARISE_AT):
            log.info("context_summarised", actor=self._runtime.name, used=round(used, 2))
            text = written_summary(self._memory.entries, keep_from)
            now = self._runtime.clock()
            self._state.write(lambda tx: self._memory.summarise(tx, text, keep_from, now=now))
            return True
        return False

    def fits(self) -> bool:
        """Whether the prompt leaves room for a reply, by our own estimate."""
        return self._used() < 1

    def find_cut(self, reply: ReplyBody) -> PromptSize | None:
        """The size of the prompt that `reply` answers if the server read only a part of it, once per context.

        The window then counts as no larger than what the server reported, and the next call compacts first.
        """
        context_id = self._memory.entries[0].id
        cut = self._cut_prompt(reply.cost)
        if cut is None or self._cut_in == context_id:
            return None
        self._cut_in = context_id
        self._must_compact = True
        # At least half of the configured window, or a server that reports nonsense would stop the work.
        reported = cut.tokens + self._options.max_tokens
        self._tokens = max(self._options.context_window // 2, min(self._tokens, reported))
        log.error(
            "prompt_cut",
            actor=self._runtime.name,
            host=reply.host,
            asked_characters=cut.characters,
            reported_tokens=cut.tokens,
        )
        return cut

    def record_cut(self, tx: Transaction, host: str, cut: PromptSize) -> None:
        """Record an incident for a prompt that `host` has cut."""
        incidents.record(
            tx,
            IncidentKind.PROMPT_CUT,
            now=self._runtime.clock(),
            agent=self._runtime.name,
            project=self._state.project,
            needs_human=True,
            host=host,
            context_window=self._options.context_window,
            asked_characters=cut.characters,
            reported_tokens=cut.tokens,
        )

    def _cut_prompt(self, cost: ReplyCost) -> PromptSize | None:
        now = _size(cost)
        if now is None:
            return None
        before: PromptSize | None = None
        for entry in reversed(self._memory.entries):
            if isinstance(entry.body, SummaryBody | MaskBody):
                break
            if isinstance(entry.body, ReplyBody) and (before := _size(entry.body.cost)) is not None:
                break
        return now if was_cut(now, before, self._options.context_window) else None

    def _used(self) -> float:
        """The share of the room for a prompt that the next one takes."""
        self._prompt.follow(self._memory.entries)
        characters = self._prompt.characters + self._state.tools_characters
        return prompt.tokens(self._memory.entries, characters) / self._room()

    def _room(self) -> int:
        """The tokens that a prompt may have, so that the reply still fits."""
        return self._tokens - self._options.max_tokens


def _size(cost: ReplyCost) -> PromptSize | None:
    tokens = max(cost.prompt_tokens or 0, cost.cached_tokens or 0)
    characters = cost.prompt_characters
    return PromptSize(characters, tokens) if tokens and characters else None
