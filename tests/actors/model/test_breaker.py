"""The breaker of a host, shared by processes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from actors.model import breaker
from actors.model.breaker import Breaker, Health, State, after_failure


def failed(
    health: Health, now: float, *, began_at: float | None = None, unreachable: bool = False, lot: float = 0.0
) -> Health:
    began = now if began_at is None else began_at
    return after_failure(health, began_at=began, now=now, unreachable=unreachable, reason="away", lot=lot)


def test_an_unreachable_host_rests_at_once_and_a_failing_one_after_three_in_a_row() -> None:
    assert failed(Health(), 100.0, unreachable=True).state(100.0) is State.OPEN
    health = Health()
    for now in (100.0, 101.0):
        health = failed(health, now)
        assert health.state(now) is State.CLOSED
    assert failed(health, 102.0).state(102.0) is State.OPEN


def test_twenty_agents_that_fail_together_are_one_failure() -> None:
    health = failed(Health(), 100.0, unreachable=True)
    assert failed(health, 100.1, began_at=99.0, unreachable=True) == health


def test_each_failed_try_doubles_the_rest_up_to_the_longest() -> None:
    health, now, rests = Health(), 100.0, []
    for _ in range(12):
        health = failed(health, now, unreachable=True, lot=1.0)
        rests.append(health.retry_at - now)
        now = health.retry_at
    assert rests[:4] == pytest.approx([0.5, 1.0, 2.0, 4.0])
    assert rests[-1] == pytest.approx(breaker.LONGEST_S)


def test_jitter_takes_up_to_half_of_the_rest() -> None:
    assert failed(Health(), 0.0, unreachable=True, lot=0.0).retry_at == pytest.approx(breaker.FIRST_S / 2)


def test_a_clock_that_was_set_back_does_not_close_a_host_off() -> None:
    health = failed(Health(), 10_000.0, unreachable=True)
    assert health.state(100.0) is State.HALF_OPEN


def test_after_its_rest_one_alone_may_try_and_its_success_lets_all_in(tmp_path: Path) -> None:
    one, other = Breaker(tmp_path), Breaker(tmp_path)
    one.failed("away", unreachable=True, began_at=time.time())
    with other.leave() as leave:
        assert leave is None, "it rests"
    _let_it_rest(tmp_path)
    with one.leave() as first, other.leave() as second:
        assert first is not None
        assert first.is_probe
        assert second is None
        one.succeeded()
        first.settle()
        with other.leave() as third:
            assert third is not None
            assert not third.is_probe


def test_a_prober_that_fails_sends_it_to_rest_again(tmp_path: Path) -> None:
    host = Breaker(tmp_path)
    host.failed("away", unreachable=True, began_at=time.time())
    _let_it_rest(tmp_path)
    with host.leave() as leave:
        assert leave is not None
        host.failed("still away", unreachable=True, began_at=time.time())
    assert host.state() is State.OPEN
    assert host.health().reason == "still away"


def test_a_torn_file_is_a_closed_breaker(tmp_path: Path) -> None:
    (tmp_path / "health.json").write_text('{"failures": 3, "open')
    assert Breaker(tmp_path).state() is State.CLOSED


def test_a_success_with_nothing_to_forget_writes_nothing(tmp_path: Path) -> None:
    host = Breaker(tmp_path / "host")
    assert not host.succeeded()
    assert not (tmp_path / "host").exists()


def _let_it_rest(folder: Path) -> None:
    """As if its rest were over."""
    path = folder / "health.json"
    health = Breaker(folder).health()
    path.write_text(path.read_text().replace(str(health.retry_at), str(time.time() - 1)))
    assert Breaker(folder).state() is State.HALF_OPEN
