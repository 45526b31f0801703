"""The end of a supervisor: ordered and complete, at whatever moment it is asked for."""

from __future__ import annotations

import pytest

from tests.support.crew_server import BUSY_AT_THE_END, KEPT_READING
from tests.support.crews import Crew


def test_events_received_before_the_end_are_handled_before_the_store_is_closed(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BUSY_AT_THE_END, "1")
    crew.want("a")
    server = crew.up()
    crew.running("a")
    assert crew.down(server) == 0
    assert server.stderr is not None
    # Twice: when it was asked to end, and when its last child had ended.
    assert server.stderr.read().decode().splitlines() == [KEPT_READING, KEPT_READING]


def test_a_stop_while_the_children_still_wait_for_the_zygote_is_an_ordered_one(crew: Crew) -> None:
    crew.want("a")
    assert crew.down(crew.up()) == 0
