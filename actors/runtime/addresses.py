"""The addresses that are always there, and how pressing a message can be. Imports nothing of the project."""

from __future__ import annotations

from enum import IntEnum

HUMAN = "human"
SUPERVISOR = "supervisor"
ORCHESTRATOR = "orchestrator"
TIMER = "timer"
TMUX = "tmux"


class Priority(IntEnum):
    """Higher is claimed first. From HIGH on a message comes between two steps of a turn, from URGENT on it
    interrupts the step that is running."""

    LOW = 10
    NORMAL = 50
    HIGH = 70
    URGENT = 90
    CONTROL = 100
