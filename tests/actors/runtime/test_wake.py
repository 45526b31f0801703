"""Wakes: datagrams that may be lost, coalesced or refused, and never hold the sender up."""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from pathlib import Path

import pytest

from actors.runtime.wake import Waker, WakeSocket, socket_path


def _wakes(listener: WakeSocket) -> bool:
    return bool(select.select([listener.fileno()], [], [], 0)[0])


@pytest.fixture(params=["short", "long"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A home with a short path, and one of more bytes than a Unix address has."""
    if request.param == "short":
        return tmp_path
    if sys.platform != "linux":
        pytest.skip("NOT TESTED: a long home has no wakes here, only polling")
    deep = tmp_path / ("ä" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    assert len(os.fsencode(deep)) > 107
    return deep


def test_a_wake_arrives_at_whom_it_is_sent_to_and_at_nobody_else(folder: Path) -> None:
    one, two, waker = WakeSocket(folder, "one"), WakeSocket(folder, "two"), Waker(folder)
    waker(["one"])
    assert _wakes(one)
    assert not _wakes(two)
    for thing in (one, two, waker):
        thing.close()


def test_any_number_of_wakes_is_one(folder: Path) -> None:
    listener, waker = WakeSocket(folder, "one"), Waker(folder)
    for _ in range(3):
        waker(["one"])
    listener.drain()
    assert not _wakes(listener)
    listener.close()
    waker.close()


def test_a_sender_is_never_held_up_by_a_queue_that_is_full_or_a_recipient_that_is_not_there(
    folder: Path,
) -> None:
    listener, waker = WakeSocket(folder, "one"), Waker(folder)
    started = time.monotonic()
    for _ in range(2_000):
        waker(["one", "nobody"])
    assert time.monotonic() - started < 5.0
    assert _wakes(listener)
    listener.drain()
    waker(["one"])
    assert _wakes(listener), "it works again once the queue was emptied"
    listener.close()
    waker.close()
    waker_without_folder = Waker(folder / "gone")
    waker_without_folder(["one"])
    waker_without_folder.close()


def test_a_new_incarnation_takes_the_address_of_a_killed_one(folder: Path) -> None:
    killed, waker = WakeSocket(folder, "one"), Waker(folder)
    successor = WakeSocket(folder, "one")
    waker(["one"])
    assert _wakes(successor)
    assert not _wakes(killed)
    killed.socket.close()
    successor.close()
    waker.close()


def test_the_address_is_private_and_gone_after_the_close(folder: Path) -> None:
    listener = WakeSocket(folder, "engineer-1.shop")
    path = socket_path(folder, "engineer-1.shop")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listener.close()
    listener.close()
    assert not path.exists()


def test_a_name_cannot_lead_out_of_the_folder(folder: Path) -> None:
    assert socket_path(folder, "../../etc/x").parent == folder


def test_wakes_leave_no_descriptor_behind(folder: Path) -> None:
    listener, waker = WakeSocket(folder, "one"), Waker(folder)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        waker(["one", "nobody"])
        listener.drain()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    listener.close()
    waker.close()
