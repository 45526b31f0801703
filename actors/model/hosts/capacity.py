"""The number of requests that a host can serve at the same time, learned from its replies if not configured.

Ollama does not report its OLLAMA_NUM_PARALLEL. But the time a request waited in the server is its total time minus
load, prefill and generation: if that exceeds one second, we send too many requests at once. Start at `START`.
Lower the number at once when the server queues. Raise it only while agents wait for a slot, and retry a number that
was too high after `FORGET_S`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from actors.model.protocol import Cost
from store.shared.replace import replace_file

START = 4
MAX_SLOTS = 16
QUEUED_MS = 1_000.0
FORGET_S = 900.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """What is known about a host. `too_many` requests made the server queue; `changed_at` is UTC seconds."""

    slots: int = START
    too_many: int | None = None
    changed_at: float = 0.0


def learn(
    known: Capacity, *, started_at: float, now: float, queued_ms: float | None, others_wait: bool
) -> Capacity:
    """The capacity after one more reply, whose request began at `started_at`.

    `queued_ms` is from `queued_in_server_ms`; `others_wait`: other agents wait for a slot. A request from
    before the last change is ignored, because it was queued behind requests that are no longer sent.
    """
    if queued_ms is None or started_at < known.changed_at:
        return known
    if queued_ms >= QUEUED_MS:
        return Capacity(known.slots - 1, known.slots, now) if known.slots > 1 else known
    more = known.slots + 1
    is_allowed = known.too_many is None or more < known.too_many or now - known.changed_at > FORGET_S
    return Capacity(more, None, now) if others_wait and is_allowed and more <= MAX_SLOTS else known


def queued_in_server_ms(cost: Cost) -> float | None:
    """How long a request waited in the server; None if the server does not report its times."""
    if cost.total_ms is None or cost.prefill_ms is None or cost.generation_ms is None:
        return None
    return max(0.0, cost.total_ms - (cost.load_ms or 0.0) - cost.prefill_ms - cost.generation_ms)


def read(path: Path) -> Capacity:
    """The capacity stored at `path`; the default if there is none or the file is damaged."""
    try:
        return Capacity(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Capacity()


def write(path: Path, capacity: Capacity) -> None:
    """Store a capacity at `path`, replacing the file in one step."""
    replace_file(path, json.dumps(asdict(capacity)))
