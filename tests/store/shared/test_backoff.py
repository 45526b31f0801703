"""Exponential backoff: arithmetic on passed-in numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.shared.backoff import Backoff

BACKOFF = Backoff(first_s=0.2, max_s=60.0)


def test_no_failure_waits_for_nothing() -> None:
    assert BACKOFF.pause_s(0, 1.0) == BACKOFF.pause_s(-1, 1.0) == 0.0


@pytest.mark.parametrize(
    ("failures", "most_s"), [(1, 0.2), (2, 0.4), (3, 0.8), (4, 1.6), (9, 51.2), (10, 60.0), (10_000, 60.0)]
)
def test_pause_doubles_up_to_its_maximum_and_jitter_takes_at_most_half(failures: int, most_s: float) -> None:
    assert BACKOFF.pause_s(failures, 1.0) == pytest.approx(most_s)
    assert BACKOFF.pause_s(failures, 0.0) == pytest.approx(most_s / 2)


def test_factor_and_jitter_can_be_chosen() -> None:
    backoff = Backoff(first_s=0.5, max_s=8.0, factor=4.0, jitter=(0.75, 1.25))
    assert [backoff.pause_s(failures, 0.5) for failures in (1, 2, 3, 4)] == [0.5, 2.0, 8.0, 8.0]
    assert backoff.pause_s(1, 0.0) == pytest.approx(0.375)
    assert backoff.longest_s == backoff.pause_s(9, 1.0) == 10.0


@given(failures=st.integers(0, 10**9), draw=st.floats(0, 1), more=st.integers(0, 1000))
def test_pause_is_bounded_and_never_shrinks_with_more_failures(failures: int, draw: float, more: int) -> None:
    pause_s = BACKOFF.pause_s(failures, draw)
    assert 0.0 <= pause_s <= BACKOFF.longest_s
    assert BACKOFF.pause_s(failures + more, draw) >= pause_s
    assert failures < 1 or pause_s >= BACKOFF.first_s / 2
