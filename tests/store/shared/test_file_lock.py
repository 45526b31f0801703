"""Locks between processes. Waiting in order and killed holders: `tests/actors/git/test_locks.py`."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from store.shared import file_lock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.lock"


def test_lock_has_one_holder_until_its_descriptor_is_closed(path: Path) -> None:
    first = file_lock.try_acquire(path)
    assert first is not None
    assert file_lock.try_acquire(path) is None
    assert file_lock.acquire(path, wait_s=0) is None
    os.close(first)
    second = file_lock.try_acquire(path)
    assert second is not None
    os.close(second)


def test_checking_is_not_holding(path: Path) -> None:
    assert not file_lock.is_held(path)
    assert not path.exists()
    descriptor = file_lock.open_file(path)
    assert not file_lock.is_held(path)
    file_lock.lock(descriptor)
    assert file_lock.is_held(path)
    file_lock.unlock(descriptor)
    assert not file_lock.is_held(path)
    os.close(descriptor)


def test_started_process_does_not_inherit_the_lock(path: Path) -> None:
    descriptor = file_lock.try_acquire(path)
    assert descriptor is not None
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        try:
            os.close(descriptor)
            assert not file_lock.is_held(path)
        finally:
            child.kill()


def test_waiter_gets_the_lock_when_it_is_released(path: Path) -> None:
    first = file_lock.try_acquire(path)
    assert first is not None
    got: list[int | None] = []
    waiter = threading.Thread(target=lambda: got.append(file_lock.acquire(path, wait_s=30)))
    waiter.start()
    os.close(first)
    waiter.join(30)
    assert got[0] is not None
    os.close(got[0])
