"""Failpoints: harmless unless armed, and then once a crew, at the very hit that was asked for."""

from __future__ import annotations

import json
import os
import signal
import timeit
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import failpoints
from store.failpoints import VARIABLE, failpoint


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.arm({}, "")


def _fork_and_pass(name: str, instant: str, times: int) -> int:
    """A child like an actor's, forked by an armed process; returns its exit as `waitpid` says."""
    pid = os.fork()
    if pid == 0:
        failpoints.set_actor_name(name)
        for _ in range(times):
            failpoint(instant)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_an_unarmed_process_passes_every_instant_at_no_cost() -> None:
    failpoints.arm({}, "supervisor")
    failpoint("before_commit")
    assert timeit.timeit(lambda: failpoint("before_commit"), number=10_000) / 10_000 < 5e-6


def test_the_named_actor_is_killed_at_the_hit_that_was_asked_for_and_nobody_after_it(tmp_path: Path) -> None:
    marker = tmp_path / "killed"
    failpoints.arm({VARIABLE: f"engineer-*:claimed:3:SIGKILL:{marker}"}, "zygote")
    assert _fork_and_pass("pm.shop", "claimed", 9) == 0
    assert _fork_and_pass("engineer-1.shop", "handled", 9) == 0
    assert _fork_and_pass("engineer-1.shop", "claimed", 2) == 0
    assert not marker.exists()
    assert _fork_and_pass("engineer-1.shop", "claimed", 3) == -signal.SIGKILL
    assert json.loads(marker.read_text())["who"] == "engineer-1.shop"
    assert _fork_and_pass("engineer-1.shop", "claimed", 9) == 0
    assert _fork_and_pass("engineer-2.shop", "claimed", 9) == 0
