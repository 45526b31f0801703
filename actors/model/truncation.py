"""Detects that a server read only a part of a prompt: compares the characters sent with the tokens reported.

A server that ignores `truncate: false` drops the oldest messages, including the task, and answers with HTTP 200
(ollama/ollama 3839, 17427). Each sign below has a tolerance for servers that did read everything. Pure.

| sign                                                                     | reason                              |
|--------------------------------------------------------------------------|-------------------------------------|
| a prompt that only grew has fewer tokens than before                     | it cannot have become shorter       |
| over 9 characters per token                                              | no text has that many               |
| about half the window reported, and over 6 characters per token          | servers truncate to half the window |
"""

from __future__ import annotations

from dataclasses import dataclass

# English and code have 3 to 4.5; a file of spaces and ruler lines may have 8.
MAX_CHARACTERS_PER_TOKEN = 9.0
HIGH_CHARACTERS_PER_TOKEN = 6.0
TOLERANCE = 0.05
MIN_CHARACTERS = 2_000  # in shorter prompts the template's own tokens distort the ratio


@dataclass(frozen=True, slots=True)
class PromptSize:
    """The size of one prompt: characters sent, tools and calls included, and tokens reported by the server."""

    characters: int
    tokens: int


def was_cut(now: PromptSize, before: PromptSize | None, window: int) -> bool:
    """Whether the server read only a part of the prompt `now`.

    `before` is an earlier prompt that `now` begins with, None without one; `window` is in tokens.
    """
    if now.characters < MIN_CHARACTERS:
        return False
    has_grown = before is not None and now.characters >= before.characters
    if before is not None and has_grown and now.tokens < before.tokens * (1 - TOLERANCE):
        return True
    near_half = abs(now.tokens - window / 2) <= window * TOLERANCE / 2
    limit = HIGH_CHARACTERS_PER_TOKEN if near_half else MAX_CHARACTERS_PER_TOKEN
    return now.characters > now.tokens * limit
