"""The breaker of a host, shared by processes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from actors.model.hosts import breaker
from actors.model.hosts.breaker import Breaker, Health, State, after_failure


def failed(
    health: Health,
    now: float,
    *,
    started_at: float | None = None,
    unreachable: bool = False,
    jitter: float = 0.0,
) -> Health:
    started = now if started_at is None else started_at
    return after_failure(
        health, started_at=started, now=now, unreachable=unreachable, reason="away", jitter=jitter
    )


def test_breaker_opens_at_once_for_an_unreachable_host_and_after_three_failures_in_a_row() -> None:
    assert failed(Health(), 100.0, unreachable=True).state(100.0) is State.OPEN
    health = Health()
    for now in (100.0, 101.0):
        health = failed(health, now)
        assert health.state(now) is State.CLOSED
    assert failed(health, 102.0).state(102.0) is State.OPEN


def test_requests_that_fail_together_count_as_one_failure() -> None:
    health = failed(Health(), 100.0, unreachable=True)
    assert failed(health, 100.1, started_at=99.0, unreachable=True) == health


def test_each_failed_probe_doubles_the_pause_up_to_the_limit() -> None:
    health, now, pauses = Health(), 100.0, []
    for _ in range(12):
        health = failed(health, now, unreachable=True, jitter=1.0)
        pauses.append(health.retry_at - now)
        now = health.retry_at
    assert pauses[:4] == pytest.approx([0.5, 1.0, 2.0, 4.0])
    assert pauses[-1] == pytest.approx(breaker.OPEN.max_s)


def test_jitter_shortens_a_pause_by_up_to_half() -> None:
    assert failed(Health(), 0.0, unreachable=True, jitter=0.0).retry_at == pytest.approx(
        breaker.OPEN.first_s / 2
    )


def test_a_clock_that_was_set_back_does_not_keep_the_breaker_open() -> None:
    health = failed(Health(), 10_000.0, unreachable=True)
    assert health.state(100.0) is State.HALF_OPEN


def test_half_open_breaker_permits_one_request_and_its_success_permits_all(tmp_path: Path) -> None:
    one, other = Breaker(tmp_path), Breaker(tmp_path)
    one.record_failure("away", unreachable=True, started_at=time.time())
    with other.permit() as permit:
        assert permit is None, "the breaker is open"
    _end_open_time(tmp_path)
    with one.permit() as first, other.permit() as second:
        assert first is not None
        assert first.is_probe
        assert second is None
        one.record_success()
        first.release()
        with other.permit() as third:
            assert third is not None
            assert not third.is_probe


def test_a_failed_probe_opens_the_breaker_again(tmp_path: Path) -> None:
    host = Breaker(tmp_path)
    host.record_failure("away", unreachable=True, started_at=time.time())
    _end_open_time(tmp_path)
    with host.permit() as permit:
        assert permit is not None
        host.record_failure("still away", unreachable=True, started_at=time.time())
    assert host.state() is State.OPEN
    assert host.health().reason == "still away"


def test_a_damaged_file_means_a_closed_breaker(tmp_path: Path) -> None:
    (tmp_path / "health.json").write_text('{"failures": 3, "open')
    assert Breaker(tmp_path).state() is State.CLOSED


def test_a_success_without_earlier_failures_writes_nothing(tmp_path: Path) -> None:
    host = Breaker(tmp_path / "host")
    assert not host.record_success()
    assert not (tmp_path / "host").exists()


def _end_open_time(folder: Path) -> None:
    """As if `retry_at` had passed."""
    path = folder / "health.json"
    health = Breaker(folder).health()
    path.write_text(path.read_text().replace(str(health.retry_at), str(time.time() - 1)))
    assert Breaker(folder).state() is State.HALF_OPEN
