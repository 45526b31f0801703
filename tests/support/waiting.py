"""Waits until a condition is observed, with a deadline, instead of for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def eventually(
    observe: Callable[[], Found], what: str, *, within_s: float = 10.0, every_s: float = 0.005
) -> Found:
    """The first truthy value that `observe` returns; fails with `what` and the last value after `within_s`."""
    deadline = time.monotonic() + within_s
    while not (found := observe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what} (last seen: {found!r})")
        time.sleep(every_s)
    return found
