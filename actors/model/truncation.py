"""Was a prompt cut silently? What was asked, in characters, against the tokens that the server reports. Pure.

A server that ignores `truncate: false` drops the oldest messages, the task among them, and answers with HTTP 200
(ollama/ollama 3839, 17427). Two signs, each with room for honest servers:

    a prompt that was only added to has far fewer tokens than the same context had before
    there are more than `MOST_CHARACTERS_PER_TOKEN` characters to a token, however plain the text
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.model.protocol import ChatMessage, Cost, ToolSpec

# English and code have 3 to 4.5; runs of spaces and rulers merge, up to about 8 over a whole file of them.
MOST_CHARACTERS_PER_TOKEN = 9.0
SHARE_LOST = 0.25
SMALLEST_CHARACTERS = 2_000  # below this, templates and rounding say more than the text


@dataclass(frozen=True, slots=True)
class Measured:
    """A prompt and what the server said it was: characters sent, tokens reported."""

    characters: int
    tokens: int


def characters_of(messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]) -> int:
    """How much text a prompt is, tools and calls included, without the template's own."""
    told = sum(len(message.content) for message in messages)
    calls = (call for message in messages for call in message.tool_calls)
    told += sum(len(call.name) + len(str(call.arguments)) for call in calls)
    return told + sum(len(str(tool.as_json())) for tool in tools)


def reported_tokens(cost: Cost) -> int | None:
    """The whole prompt's tokens; None where the server does not say.

    Some servers count only what was not cached, and say the rest beside it.
    """
    if not cost.prompt_tokens:
        return None
    return max(cost.prompt_tokens, cost.cached_tokens or 0)


def was_cut(now: Measured, before: Measured | None) -> bool:
    """Whether the server read only a part of the prompt. `before`: an earlier one of the same context."""
    if now.characters < SMALLEST_CHARACTERS:
        return False
    if before is not None and before.characters >= SMALLEST_CHARACTERS:
        expected = before.tokens * now.characters / before.characters
        if now.tokens < expected * (1 - SHARE_LOST):
            return True
    return now.tokens * MOST_CHARACTERS_PER_TOKEN < now.characters
