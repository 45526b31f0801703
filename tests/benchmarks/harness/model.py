"""The scripted model's server with a clock: when each request was in, and when its answer was out."""

from __future__ import annotations

import collections
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from actors.rehearsal.answers import Answer, ChatRequest
from actors.rehearsal.faults import FaultKind
from actors.rehearsal.http import RehearsalHTTPServer
from actors.rehearsal.script import Script, parse_script
from actors.rehearsal.state import ServedRequest, ServerState


@dataclass(frozen=True, slots=True)
class Request:
    """One question, on the `perf_counter`; `prompt` is its messages as JSON, `digest` is of its tools too."""

    agent: str
    at: float
    prompt: str
    digest: str


class TimedState(ServerState):
    """`asked` are the requests in the order they came, `answered_at` when each agent's answers were out."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.asked: list[Request] = []
        self.answered_at: dict[str, list[float]] = {}
        self.served = _Noting(self)
        self._arrival = threading.local()

    def has(self, model: str) -> bool:
        """The server's first question about a request, asked as soon as it was read: what follows is its work."""
        self._arrival.at = time.perf_counter()
        return super().has(model)

    def pick_fault(self, request: ChatRequest, answer: Answer) -> FaultKind | None:
        prompt = json.dumps(request.messages)
        self.asked.append(Request(request.agent, self._arrival.at, prompt, request.digest))
        return super().pick_fault(request, answer)

    def requests_of(self, agent: str) -> list[Request]:
        return [request for request in self.asked if request.agent == agent]

    def gaps_ms(self, agent: str, first: int, last: int) -> list[float]:
        """From the end of answer n to the arrival of request n + 1, for n in `first` to `last` - 1.

        All that an agent does between two words of its model: commit the reply, run the tool, commit its
        result, build the prompt, connect and send.
        """
        requests, outs = self.requests_of(agent), self.answered_at[agent]
        return [(requests[n + 1].at - outs[n]) * 1000 for n in range(first, last)]


class _Noting(collections.deque[ServedRequest]):
    def __init__(self, state: TimedState) -> None:
        super().__init__(maxlen=10_000)
        self._state = state

    def append(self, item: ServedRequest) -> None:
        self._state.answered_at.setdefault(item.agent, []).append(time.perf_counter())
        super().append(item)


@contextmanager
def timed_model(scenes: list[dict[str, Any]]) -> Iterator[tuple[str, TimedState]]:
    """Serve these scenes without any delay; its URL and its state."""
    state = TimedState(parse_script({"scene": scenes}))
    server = RehearsalHTTPServer(state, 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", state
    finally:
        state.stopping.set()
        server.shutdown()
        thread.join()
        server.drop_connections()
        server.server_close()


def reply(text: str, tool: str | None = None, /, **arguments: Any) -> dict[str, Any]:
    """One scripted answer, with a call or without."""
    calls = [{"tool": tool, "arguments": arguments}] if tool else []
    return {"text": text, "calls": calls}
