"""The state of a scripted server: its models, the requests it served, and how often each request was made."""

from __future__ import annotations

import collections
import threading
from dataclasses import dataclass
from typing import Any

from actors.rehearsal.answers import Answer, ChatRequest
from actors.rehearsal.faults import FaultKind, choose_fault
from actors.rehearsal.script import Script

_MAX_SERVED = 10_000


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """One `/api/chat` request, for tests and the summary.

    `outcome` is "answered", "fault", or "closed" if the client left or the server stopped before the end.
    """

    role: str
    agent: str
    digest: str
    scene: int | None
    fault: str | None
    outcome: str


class ServerState:
    """Shared by the threads of one server. Answers do not depend on it; only faults do."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.stopping = threading.Event()
        self.served: collections.deque[ServedRequest] = collections.deque(maxlen=_MAX_SERVED)
        self._models = list(script.models)
        self._times_seen: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    @property
    def models(self) -> tuple[str, ...]:
        """The script's models and those pulled since."""
        with self._lock:
            return tuple(self._models)

    def has(self, model: str) -> bool:
        """Whether the server has a model; the tag `:latest` may be left out."""
        return model in self.models or f"{model}:latest" in self.models

    def add_model(self, model: str) -> None:
        """Add a model that a client has pulled."""
        with self._lock:
            if model not in self._models:
                self._models.append(model)

    def summary(self) -> dict[str, Any]:
        """Counts of the latest requests, as `GET /rehearsal` returns them. `repeated`: same prompt as before."""
        served = tuple(self.served)
        return {
            "title": self.script.title,
            "requests": len(served),
            "repeated": len(served) - len({item.digest for item in served}),
            "outcomes": dict(collections.Counter(item.outcome for item in served)),
            "faults": dict(collections.Counter(str(item.fault) for item in served if item.fault)),
        }

    def pick_fault(self, request: ChatRequest, answer: Answer) -> FaultKind | None:
        """The fault for this request, if any; counts the request. A fault of the reply itself comes first."""
        with self._lock:
            times_seen = self._times_seen[request.digest]
            self._times_seen[request.digest] += 1
        reply = answer.reply
        if reply is not None and reply.fault is not None and times_seen < reply.fault_times:
            return reply.fault
        return choose_fault(
            self.script.fault,
            seed=self.script.seed,
            request_hash=request.digest,
            times_seen=times_seen,
            role=request.role,
            agent=request.agent,
        )
