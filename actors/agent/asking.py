"""One question to the model, with its live tokens, and patience while no model answers."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from actors import log
from actors.agent import ladder
from actors.agent.prompt import GrowingPrompt
from actors.agent.state import Desk
from actors.model import truncation
from actors.model.errors import (
    ModelError,
    ModelMissing,
    ModelUnavailable,
    ReplyMalformed,
    RequestRefused,
)
from actors.model.hosts.failover import HostPool
from actors.model.hosts.host import ChatRequest, HostReply
from actors.model.parsing import calls as toolcalls
from actors.model.protocol import ModelOptions, ToolSpec
from actors.runtime.actor import Runtime
from store.history import Entry
from store.states import Activity, EntryKind, Role

LIVE_ADDRESS = "tmux-live"
OUTAGE_FIRST_S = 0.5
OUTAGE_MOST_S = 30.0
LOOK_S = 0.25  # how often an agent looks whether a host that rested answers again
LIVE_CHARACTERS = 1_500  # a datagram holds that much with room to spare
WAITING_AFTER_S = 1.0  # a shorter wait is not worth a commit
WAITING_PATIENCE_S = 600.0  # renewed at half its time: who waits is not late, who was stopped is
BRIEF_ROLES = frozenset({Role.ORCHESTRATOR, Role.PROJECT_MANAGER, Role.QA})
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
            self._send(part)
            self.offset += len(part)

    def take_back(self) -> None:
        """No row will follow: the call was cancelled, or it failed."""
        self._send("", is_over=True)

    def _send(self, text: str, *, is_over: bool = False) -> None:
        live = {"agent": self.runtime.name, "turn": self.turn, "offset": self.offset, "text": text}
        self.runtime.waker.send(LIVE_ADDRESS, json.dumps(live | {"is_over": is_over}).encode())


@dataclass(slots=True)
class Outage:
    """How often in a row no host has answered, and so how long to wait before the next try."""

    failures: int = 0

    def next_pause_s(self) -> float:
        self.failures += 1
        pause_s: float = min(OUTAGE_MOST_S, OUTAGE_FIRST_S * 2 ** min(self.failures - 1, 10))
        return pause_s * random.uniform(0.5, 1.0)


@dataclass(slots=True)
class InLine:
    """What the store is told of a wait for a slot: nothing of a short one."""

    desk: Desk
    told_at_s: float | None = None

    def on_wait(self, waited_s: float) -> None:
        due_s = WAITING_AFTER_S if self.told_at_s is None else self.told_at_s + WAITING_PATIENCE_S / 2
        if waited_s >= due_s:
            self.told_at_s = waited_s
            self._tell(Activity.WAITING, WAITING_PATIENCE_S)

    def on_slot(self) -> None:
        self.told_at_s = None
        self.desk.expect(Activity.MODEL)

    def _tell(self, activity: Activity, patience_s: float | None) -> None:
        with self.desk.runtime.store.write(self.desk.runtime.fence) as tx:
            self.desk.set_activity(tx, activity, patience_s)


@dataclass(slots=True)
class Asker:
    """An agent's way to its model hosts, and what a reply becomes."""

    desk: Desk
    options: ModelOptions
    outage: Outage = field(default_factory=Outage)
    malformed: int = 0
    calls: int = 0
    pool: HostPool = field(init=False)

    def __post_init__(self) -> None:
        runtime, settings = self.desk.runtime, self.desk.runtime.config.model
        limits = settings.request_limits()
        self.pool = HostPool(runtime.name, settings.hosts, runtime.home.run, limits, settings.slots)

    @property
    def runtime(self) -> Runtime:
        return self.desk.runtime

    def ask(self, prompt: GrowingPrompt, rung: int) -> dict[str, Any]:
        """The body of the `reply` row. Raises `ModelCancelled`, `ModelUnavailable`, `PromptTooLong`,
        `ReplyMalformed` or `RequestRefused`; the caller decides what each means for the turn."""
        in_line, tools = InLine(self.desk), self.desk.specs
        request = ChatRequest(
            agent=self.runtime.name,
            is_brief=self.desk.role in BRIEF_ROLES,
            messages=prompt.messages,
            tools=tools,
            options=ladder.sampling(self.options, rung, self.malformed),
            cancelled=self.runtime.coupling.cancelled,
            on_wait=in_line.on_wait,
            on_slot=in_line.on_slot,
        )
        try:
            answered = self.pool.chat(request, self._new_stream)
        except ModelError as error:
            LiveStream(self.runtime, self._stream_number()).take_back()
            self.malformed += isinstance(error, ReplyMalformed)
            raise
        self.outage.failures = 0
        self.malformed = 0
        body = self._body(answered, tools)
        body["cost"]["prompt_characters"] = prompt.text + self.desk.tools_characters
        return body

    def _new_stream(self) -> Callable[[str], None]:
        self.calls += 1
        return LiveStream(self.runtime, self._stream_number())

    def _stream_number(self) -> int:
        return self.runtime.generation * 1_000_000 + self.calls

    def _body(self, answered: HostReply, tools: Sequence[ToolSpec]) -> dict[str, Any]:
        reply = answered.reply
        found = toolcalls.extract(reply, tools)
        problems = list(found.problems)
        if reply.done_reason == "length" and not found.calls and not problems:
            problems.append(CUT)
        if found.is_empty:
            problems.append(EMPTY)
        cost = {key: value for key, value in asdict(reply.cost).items() if value is not None}
        return {
            "text": found.text.strip(),
            "calls": [{"name": call.name, "arguments": call.arguments} for call in found.calls],
            "problems": problems,
            "done_reason": reply.done_reason,
            "cost": {**cost, "queue_ms": round(answered.queue_ms, 1)},
            "host": answered.host,
            "stream": self._stream_number(),
        }

    def wait_out(self, error: ModelUnavailable | RequestRefused) -> None:
        """Pause before the next try; an outage is no crash. Ends early when something urgent comes, or when
        a host that rested answers again."""
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
        if isinstance(error, ModelUnavailable) and self.pool.is_paused():
            self._wait_for_a_host()
        else:
            self.runtime.coupling.cancelled.wait(pause_s)

    def _wait_for_a_host(self) -> None:
        """The breakers know when it is worth a try; whoever tries first closes them for all."""
        deadline = time.monotonic() + max(self.pool.retry_in_s(), LOOK_S) * random.uniform(1.0, 1.25)
        while time.monotonic() < deadline and self.pool.is_paused():
            if self.runtime.coupling.cancelled.wait(LOOK_S * random.uniform(0.5, 1.0)):
                return


def prompt_cut(body: dict[str, Any], entries: Sequence[Entry], window: int) -> dict[str, Any] | None:
    """Whether the server read only a part of the prompt that `body` answers: what was asked and what it says.

    `entries` are the context without this reply. None as well once it was said of this context.
    """
    now = _measured(body)
    if now is None:
        return None
    before: truncation.PromptSize | None = None
    for entry in reversed(entries):
        if entry.kind is EntryKind.SUMMARY:
            break
        if entry.kind is EntryKind.REPLY and (before := _measured(entry.body)) is not None:
            break
    if not truncation.was_cut(now, before, window):
        return None
    return {"asked_characters": now.characters, "reported_tokens": now.tokens}


def _measured(body: dict[str, Any]) -> truncation.PromptSize | None:
    cost = body.get("cost", {})
    tokens = max(cost.get("prompt_tokens") or 0, cost.get("cached_tokens") or 0)
    characters = cost.get("prompt_characters")
    return truncation.PromptSize(characters, tokens) if tokens and characters else None
