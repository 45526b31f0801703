"""One question to the model, with its live tokens, and patience while no model answers."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from actors import log
from actors.actor import Runtime
from actors.agent import ladder
from actors.model import toolcalls
from actors.model.errors import ModelMissing, ModelUnavailable, ReplyMalformed, RequestRefused
from actors.model.ollama import OllamaModel
from actors.model.protocol import ChatMessage, ModelOptions, Reply, ToolSpec

LIVE_ADDRESS = "tmux-live"
OUTAGE_FIRST_S = 0.5
OUTAGE_MOST_S = 30.0
LIVE_CHARACTERS = 1_500  # a datagram holds that much with room to spare
EMPTY = "Your reply was empty. Call a tool, or say in one sentence that you are done."
CUT = "Your reply was cut off because it was too long. Do it in smaller steps."


@dataclass(slots=True)
class LiveStream:
    """Sends what the model streams to the screen: unacknowledged, the committed row is the truth."""

    runtime: Runtime
    turn: int
    offset: int = 0

    def __call__(self, text: str) -> None:
        for start in range(0, len(text), LIVE_CHARACTERS):
            part = text[start : start + LIVE_CHARACTERS]
            live = {"agent": self.runtime.name, "turn": self.turn, "offset": self.offset, "text": part}
            self.runtime.waker.send(LIVE_ADDRESS, json.dumps(live).encode())
            self.offset += len(part)


@dataclass(slots=True)
class Outage:
    """How often in a row no host has answered, and so how long to wait before the next try."""

    failures: int = 0

    def next_pause_s(self) -> float:
        self.failures += 1
        pause_s: float = min(OUTAGE_MOST_S, OUTAGE_FIRST_S * 2 ** min(self.failures - 1, 10))
        return pause_s * random.uniform(0.5, 1.0)


@dataclass(slots=True)
class Asker:
    """An agent's line to its model hosts; an agent stays with its host and so with its warm prefix."""

    runtime: Runtime
    options: ModelOptions
    outage: Outage = field(default_factory=Outage)
    malformed: int = 0
    calls: int = 0
    _host: int = 0

    def __post_init__(self) -> None:
        self._host = zlib.crc32(self.runtime.name.encode())

    def ask(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], rung: int) -> dict[str, Any]:
        """The body of the `reply` row. Raises `ModelCancelled`, `ModelUnavailable`, `PromptTooLong`,
        `ReplyMalformed` or `RequestRefused`; the caller decides what each means for the turn."""
        settings = self.runtime.config.model
        host = settings.hosts[self._host % len(settings.hosts)]
        self.calls += 1
        stream = LiveStream(self.runtime, self.runtime.generation * 1_000_000 + self.calls)
        options = ladder.sampling(self.options, rung, self.malformed)
        model = OllamaModel(host, settings.request_limits())
        try:
            reply = model.chat(
                messages, tools, options, on_text=stream, cancelled=self.runtime.coupling.cancelled
            )
        except ModelUnavailable:
            self._host += 1
            raise
        except ReplyMalformed:
            self.malformed += 1
            raise
        self.outage.failures = 0
        self.malformed = 0
        return self._body(reply, tools, stream.turn)

    def _body(self, reply: Reply, tools: Sequence[ToolSpec], stream: int) -> dict[str, Any]:
        found = toolcalls.extract(reply, tools)
        problems = list(found.problems)
        if reply.done_reason == "length" and not found.calls and not problems:
            problems.append(CUT)
        if found.is_empty:
            problems.append(EMPTY)
        return {
            "text": found.text.strip(),
            "calls": [{"name": call.name, "arguments": call.arguments} for call in found.calls],
            "problems": problems,
            "done_reason": reply.done_reason,
            "cost": {key: value for key, value in asdict(reply.cost).items() if value is not None},
            "stream": stream,
        }

    def wait_out(self, error: ModelUnavailable | RequestRefused) -> None:
        """Pause before the next try; an outage is no crash. Ends early when something urgent comes."""
        pause_s = self.outage.next_pause_s()
        level = "warning" if self.outage.failures == 1 else "info"
        log.event(
            level.upper(),
            "model_missing" if isinstance(error, ModelMissing) else "model_unavailable",
            actor=self.runtime.name,
            reason=str(error),
            failures=self.outage.failures,
            pause_s=round(pause_s, 1),
        )
        self.runtime.coupling.cancelled.wait(pause_s)
