"""Restart intensity: arithmetic on a passed-in `now`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervisor.policy.intensity import Intensity

times = st.lists(st.floats(0, 10_000, allow_nan=False), max_size=40).map(sorted)


def _after(crashes: list[float], *, limit: int = 5, window_s: float = 900.0) -> Intensity:
    account = Intensity(limit, window_s)
    for at in crashes:
        account = account.record(at)
    return account


def test_the_limit_itself_is_allowed_and_one_more_exhausts_it() -> None:
    assert not _after([0, 1, 2, 3, 4]).is_exhausted(4)
    assert _after([0, 1, 2, 3, 4, 5]).is_exhausted(5)


def test_a_crash_leaves_the_account_when_the_window_has_passed() -> None:
    account = _after([0, 1, 2, 3, 4, 5])
    assert account.is_exhausted(899.9)
    assert not account.is_exhausted(900.0)


def test_a_limit_of_zero_is_exhausted_by_the_first_crash() -> None:
    assert not Intensity(0, 60).is_exhausted(0)
    assert _after([0], limit=0).is_exhausted(0)


def test_a_cleared_account_is_new() -> None:
    assert _after([0, 1, 2, 3, 4, 5]).cleared() == Intensity(5, 900.0)


def test_recording_leaves_the_older_account_as_it_was() -> None:
    before = Intensity(5, 900.0)
    before.record(1.0)
    assert before.crashes == ()


@given(crashes=times, limit=st.integers(0, 10), window_s=st.floats(0.1, 5_000), later_s=st.floats(0, 10_000))
def test_exhausted_means_more_than_limit_crashes_in_the_window(
    crashes: list[float], limit: int, window_s: float, later_s: float
) -> None:
    now = (crashes[-1] if crashes else 0.0) + later_s
    account = _after(crashes, limit=limit, window_s=window_s)
    assert account.is_exhausted(now) == (sum(now - at < window_s for at in crashes) > limit)


@given(crashes=times, window_s=st.floats(0.1, 100))
def test_the_account_holds_only_the_window_so_a_long_night_does_not_grow_it(
    crashes: list[float], window_s: float
) -> None:
    account = _after(crashes, window_s=window_s)
    newest = crashes[-1] if crashes else 0.0
    assert list(account.crashes) == [at for at in crashes if newest - at < window_s]
