"""Fixed addresses and message priorities. Imports nothing of the project."""

from __future__ import annotations

from enum import IntEnum

HUMAN = "human"
SUPERVISOR = "supervisor"
ORCHESTRATOR = "orchestrator"
TIMER = "timer"
TMUX = "tmux"


class Priority(IntEnum):
    """A message with a higher priority is claimed first.

    A message of priority HIGH or above is read between two steps of a turn. URGENT or above also interrupts the
    running step.
    """

    LOW = 10
    NORMAL = 50
    HIGH = 70
    URGENT = 90
    CONTROL = 100
