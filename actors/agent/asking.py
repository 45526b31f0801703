"""One question to the model, with its live tokens, and patience while no model answers."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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
from actors.runtime.live import LIVE_ADDRESS, LivePiece
from store.entries import Call, Entry, MaskBody, ReplyBody, ReplyCost, SummaryBody
from store.states import Activity, Role

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
    """Sends what the model streams to the screen. Datagrams may be lost: the stored row is shown in the end."""

    runtime: Runtime
    stream: int
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
        piece = LivePiece(self.runtime.name, self.stream, self.offset, text, is_over)
        self.runtime.waker.send(LIVE_ADDRESS, piece.encode())


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

    def ask(self, prompt: GrowingPrompt, rung: int) -> ReplyBody:
        """The model's reply. Raises `ModelCancelled`, `ModelUnavailable`, `PromptTooLong`,
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
        return self._body(answered, tools, prompt.text + self.desk.tools_characters)

    def _new_stream(self) -> Callable[[str], None]:
        self.calls += 1
        return LiveStream(self.runtime, self._stream_number())

    def _stream_number(self) -> int:
        return self.runtime.generation * 1_000_000 + self.calls

    def _body(self, answered: HostReply, tools: Sequence[ToolSpec], prompt_characters: int) -> ReplyBody:
        reply = answered.reply
        found = toolcalls.extract(reply, tools)
        problems = list(found.problems)
        if reply.done_reason == "length" and not found.calls and not problems:
            problems.append(CUT)
        if found.is_empty:
            problems.append(EMPTY)
        return ReplyBody(
            text=found.text.strip(),
            calls=tuple(Call(call.name, call.arguments) for call in found.calls),
            problems=tuple(problems),
            done_reason=reply.done_reason,
            cost=_cost(answered, prompt_characters),
            host=answered.host,
            stream=self._stream_number(),
        )

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


def _cost(answered: HostReply, prompt_characters: int) -> ReplyCost:
    cost = answered.reply.cost
    return ReplyCost(
        prompt_tokens=cost.prompt_tokens,
        cached_tokens=cost.cached_tokens,
        generated_tokens=cost.generated_tokens,
        load_ms=cost.load_ms,
        prefill_ms=cost.prefill_ms,
        generation_ms=cost.generation_ms,
        total_ms=cost.total_ms,
        queue_ms=round(answered.queue_ms, 1),
        prompt_characters=prompt_characters,
    )


def cut_prompt(cost: ReplyCost, entries: Sequence[Entry], window: int) -> truncation.PromptSize | None:
    """The size of the prompt that a reply of this cost answers, if the server read only a part of it.

    `entries` are the context without this reply.
    """
    now = _measured(cost)
    if now is None:
        return None
    before: truncation.PromptSize | None = None
    for entry in reversed(entries):
        if isinstance(entry.body, SummaryBody | MaskBody):
            break
        if isinstance(entry.body, ReplyBody) and (before := _measured(entry.body.cost)) is not None:
            break
    return now if truncation.was_cut(now, before, window) else None


def _measured(cost: ReplyCost) -> truncation.PromptSize | None:
    tokens = max(cost.prompt_tokens or 0, cost.cached_tokens or 0)
    characters = cost.prompt_characters
    return truncation.PromptSize(characters, tokens) if tokens and characters else None
