"""Telling a prompt that was cut from one that is merely plain."""

from __future__ import annotations

import pytest

from actors.model.truncation import Measured, was_cut

WINDOW = 32_768


@pytest.mark.parametrize(
    ("now", "before", "why"),
    [
        (Measured(60_000, 16_300), Measured(58_000, 17_800), "it was added to and became shorter"),
        (Measured(200_000, 16_384), None, "half the window for twelve characters a token"),
        (Measured(110_000, 16_200), None, "half the window, and implausibly plain"),
        (Measured(9_000, 11), None, "a made-up constant"),
    ],
)
def test_a_cut_prompt_is_seen(now: Measured, before: Measured | None, why: str) -> None:
    assert was_cut(now, before, WINDOW), why


@pytest.mark.parametrize(
    ("now", "before", "why"),
    [
        (Measured(60_000, 17_000), Measured(58_000, 16_500), "ordinary code"),
        (Measured(55_000, 16_384), None, "half the window by chance, 3.4 characters a token"),
        (Measured(80_000, 10_500), None, "a file of rulers and blanks, 7.6 characters a token"),
        (Measured(1_200, 11), None, "too short to tell"),
        (Measured(30_000, 8_000), Measured(90_000, 25_000), "it was compacted in between"),
        (Measured(60_000, 17_000), Measured(59_990, 17_100), "a few tokens of the template"),
    ],
)
def test_an_honest_count_is_left_alone(now: Measured, before: Measured | None, why: str) -> None:
    assert not was_cut(now, before, WINDOW), why
