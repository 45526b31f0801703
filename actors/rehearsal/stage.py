"""What a rehearsed server remembers: its models, what it served, and how often a request was made."""

from __future__ import annotations

import collections
import threading
from dataclasses import dataclass
from typing import Any

from actors.rehearsal.faults import FaultKind, choose_fault
from actors.rehearsal.playing import Answer, Asked
from actors.rehearsal.script import Script

_LATEST_REQUESTS = 10_000


@dataclass(frozen=True, slots=True)
class Served:
    """One `/api/chat` as it went, for tests and the rehearsal's summary.

    `outcome` is "answered", "fault", or "closed": the client left, or the server stopped, before the end.
    """

    role: str
    agent: str
    digest: str
    scene: int | None
    fault: str | None
    outcome: str


class Stage:
    """The state of one server, shared by its threads. Answers never depend on it; only faults do."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.stopping = threading.Event()
        self.served: collections.deque[Served] = collections.deque(maxlen=_LATEST_REQUESTS)
        self._models = list(script.models)
        self._seen: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    @property
    def models(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._models)

    def has(self, model: str) -> bool:
        return model in self.models or f"{model}:latest" in self.models

    def pulled(self, model: str) -> None:
        with self._lock:
            if model not in self._models:
                self._models.append(model)

    def summary(self) -> dict[str, Any]:
        """Counts of the latest requests; `repeated` are those whose very prompt had been asked before."""
        served = tuple(self.served)
        return {
            "title": self.script.title,
            "requests": len(served),
            "repeated": len(served) - len({item.digest for item in served}),
            "outcomes": dict(collections.Counter(item.outcome for item in served)),
            "faults": dict(collections.Counter(str(item.fault) for item in served if item.fault)),
        }

    def pick_fault(self, asked: Asked, said: Answer) -> FaultKind | None:
        """The fault for this request, which now counts as seen once more. A reply's own fault comes first."""
        with self._lock:
            seen = self._seen[asked.digest]
            self._seen[asked.digest] += 1
        if said.reply is not None and said.reply.fault is not None and seen < said.reply.fault_times:
            return said.reply.fault
        return choose_fault(
            self.script.fault,
            seed=self.script.seed,
            request_hash=asked.digest,
            times_seen=seen,
            role=asked.role,
            agent=asked.agent,
        )
