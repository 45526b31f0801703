"""The recovery ladder: what to try next with a task that is stuck. Pure.

| rung | what                                                       |
|------|------------------------------------------------------------|
| 0    | (nudges, see `guard.py`)                                   |
| 1    | a fresh context: the task again, and what went wrong       |
| 2    | a fresh context and other sampling                         |
| 3    | another agent, if the team has or may hire one             |
| 4    | parked, with the evidence                                  |
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

from actors.model.protocol import ModelOptions


class Rung(IntEnum):
    """See the table above."""

    START = 0
    FRESH_CONTEXT = 1
    OTHER_SAMPLING = 2
    OTHER_AGENT = 3
    PARKED = 4


def next_rung(rung: int, *, others: bool) -> Rung:
    """The next rung. `others`: whether another agent could take the task."""
    above = Rung(min(rung + 1, Rung.PARKED))
    if above is Rung.OTHER_AGENT and not others:
        return Rung.PARKED
    return above


def sampling(options: ModelOptions, rung: int, attempt: int) -> ModelOptions:
    """The sampling options on a rung. Each `attempt` (from 0) has a seed of its own, so no request is repeated."""
    if rung >= Rung.OTHER_SAMPLING:
        options = replace(options, temperature=min(1.2, options.temperature + 0.3), top_p=0.95)
    if attempt or rung:
        options = replace(options, seed=((options.seed or 0) + 7919 * attempt + 104729 * rung) % 2**31)
    return options
