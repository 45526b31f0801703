"""Waiting for something observed, with a deadline: never for a guessed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
LOOK_EVERY_S = 0.005


def eventually(look: Callable[[], Found], what: str, *, within_s: float = 10.0) -> Found:
    """The first truthy value that `look` gives; fails with `what` and the last value after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what} (last seen: {found!r})")
        time.sleep(LOOK_EVERY_S)
