"""A prompt that was cut is distinguished from one with many characters per token."""

from __future__ import annotations

import pytest

from actors.model.truncation import PromptSize, was_cut

WINDOW = 32_768


@pytest.mark.parametrize(
    ("now", "before", "why"),
    [
        (PromptSize(60_000, 16_300), PromptSize(58_000, 17_800), "it was added to and became shorter"),
        (PromptSize(200_000, 16_384), None, "half the window for twelve characters a token"),
        (PromptSize(110_000, 16_200), None, "half the window, and implausibly plain"),
        (PromptSize(9_000, 11), None, "a made-up constant"),
    ],
)
def test_a_cut_prompt_is_detected(now: PromptSize, before: PromptSize | None, why: str) -> None:
    assert was_cut(now, before, WINDOW), why


@pytest.mark.parametrize(
    ("now", "before", "why"),
    [
        (PromptSize(60_000, 17_000), PromptSize(58_000, 16_500), "ordinary code"),
        (PromptSize(55_000, 16_384), None, "half the window by chance, 3.4 characters a token"),
        (PromptSize(80_000, 10_500), None, "a file of rulers and blanks, 7.6 characters a token"),
        (PromptSize(1_200, 11), None, "too short to tell"),
        (PromptSize(30_000, 8_000), PromptSize(90_000, 25_000), "it was compacted in between"),
        (PromptSize(60_000, 17_000), PromptSize(59_990, 17_100), "a few tokens of the template"),
    ],
)
def test_a_correct_count_is_accepted(now: PromptSize, before: PromptSize | None, why: str) -> None:
    assert not was_cut(now, before, WINDOW), why
