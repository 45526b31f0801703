"""Was a prompt cut silently? What was asked, in characters, against the tokens that the server reports. Pure.

A server that ignores `truncate: false` drops the oldest messages, the task among them, and answers with
HTTP 200 (ollama/ollama 3839, 17427). The signs, each with room for honest servers:

| sign                                                                     | because                        |
|--------------------------------------------------------------------------|--------------------------------|
| a prompt that was only added to has fewer tokens than it had before      | it cannot have become shorter  |
| over 9 characters to a token                                             | no text is that plain          |
| about half the window reported, and over 6 characters to a token         | servers cut to half the window |
"""

from __future__ import annotations

from dataclasses import dataclass

# English and code have 3 to 4.5; runs of spaces and rulers merge, up to about 8 over a whole file of them.
MOST_CHARACTERS_PER_TOKEN = 9.0
MUCH_CHARACTERS_PER_TOKEN = 6.0
SLACK = 0.05
SMALLEST_CHARACTERS = 2_000  # below this, templates and rounding say more than the text


@dataclass(frozen=True, slots=True)
class Measured:
    """A prompt and what the server said it was: characters sent, tools and calls included, tokens reported."""

    characters: int
    tokens: int


def was_cut(now: Measured, before: Measured | None, window: int) -> bool:
    """Whether the server read only a part of the prompt. `before`: the prompt that this one only adds to."""
    if now.characters < SMALLEST_CHARACTERS:
        return False
    has_grown = before is not None and now.characters >= before.characters
    if before is not None and has_grown and now.tokens < before.tokens * (1 - SLACK):
        return True
    near_half = abs(now.tokens - window / 2) <= window * SLACK / 2
    most = MUCH_CHARACTERS_PER_TOKEN if near_half else MOST_CHARACTERS_PER_TOKEN
    return now.characters > now.tokens * most
