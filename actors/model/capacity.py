"""How many requests at once a host takes, where that is not configured: learnt from what its replies say.

Ollama does not tell its OLLAMA_NUM_PARALLEL. But a reply's total time less its load, prefill and
generation is the time that it waited in the server: more than a second of it means one request too
many. Learning begins at `START`, goes down at once and up only while agents wait in our own line, and
tries what was too many again after `FORGET_S`.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from actors.model.protocol import Cost

START = 4
MOST = 16
WAITED_MS = 1_000.0
FORGET_S = 900.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """`too_many` was seen to queue in the server; `changed_at` is UTC seconds."""

    slots: int = START
    too_many: int | None = None
    changed_at: float = 0.0


def learn(known: Capacity, *, began_at: float, now: float, waited_ms: float | None, more: bool) -> Capacity:
    """What a reply teaches. `more`: others wait in our own line. A request from before the last change
    says nothing about it."""
    if waited_ms is None or began_at < known.changed_at:
        return known
    if waited_ms >= WAITED_MS:
        return Capacity(known.slots - 1, known.slots, now) if known.slots > 1 else known
    next_up = known.slots + 1
    is_open = known.too_many is None or next_up < known.too_many or now - known.changed_at > FORGET_S
    return Capacity(next_up, None, now) if more and is_open and next_up <= MOST else known


def waited_in_server_ms(cost: Cost) -> float | None:
    """How long the server let the request wait; None where it does not report its times."""
    if cost.total_ms is None or cost.prefill_ms is None or cost.generation_ms is None:
        return None
    return max(0.0, cost.total_ms - (cost.load_ms or 0.0) - cost.prefill_ms - cost.generation_ms)


def read(path: Path) -> Capacity:
    """What is known; the beginning where nothing is, or the file is torn."""
    try:
        return Capacity(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Capacity()


def write(path: Path, capacity: Capacity) -> None:
    """Replace what is known, whole."""
    replace_file(path, json.dumps(asdict(capacity)))


def replace_file(path: Path, text: str) -> None:
    """Put `text` at `path` so that a reader sees the old or the new, never a part."""
    new = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(3).hex()}")
    new.write_text(text)
    new.replace(path)
