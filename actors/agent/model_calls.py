"""One call to the model: send the prompt, commit the reply, and decide what a failure means for the turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from actors import log
from actors.agent.context.window import ContextWindow
from actors.agent.recovery import ladder
from actors.agent.state import WorkingState
from actors.agent.tool_calls import ToolCalls
from actors.agent.turn import Continue, Ended, StepResult, Stuck
from actors.model import preload
from actors.model.errors import (
    ModelCancelled,
    ModelError,
    ModelUnavailable,
    PromptTooLong,
    ReplyMalformed,
    RequestRefused,
)
from actors.model.hosts.failover import HostPool
from actors.model.hosts.host import ChatRequest, HostReply, ModelHost
from actors.model.parsing.calls import extract
from actors.runtime.addresses import HUMAN
from actors.runtime.live import LiveStream
from store import incidents
from store.engine import Transaction
from store.entries import Call, Entry, MessageBody, ReplyBody, ReplyCost
from store.failpoints import failpoint
from store.rows import Intent, Message
from store.states import Activity, IncidentKind, Role

TOO_LONG_TRIES = 2
OUTAGE_PATIENCE_S = 1_800.0  # longer than any pause between two attempts
WAITING_AFTER_S = 1.0  # a shorter wait for a slot is not worth a commit
WAITING_PATIENCE_S = 600.0
BRIEF_ROLES = frozenset({Role.ORCHESTRATOR, Role.PROJECT_MANAGER, Role.QA})
EMPTY = "Your reply was empty. Call a tool, or say in one sentence that you are done."
CUT = "Your reply was cut off because it was too long. Do it in smaller steps."


class ModelCalls:
    """The part of an agent that calls its model."""

    def __init__(self, state: WorkingState, tool_calls: ToolCalls) -> None:
        self._state = state
        self._tool_calls = tool_calls
        self._runtime = state.runtime
        settings = self._runtime.config.model
        limits = settings.request_limits()
        self._options = settings.options(state.role)
        self._window = ContextWindow(state, self._options)
        self._pool = HostPool(
            self._runtime.name, settings.hosts, self._runtime.home.run, limits, settings.slots
        )
        self._attempts = 0
        self._malformed = 0  # unreadable replies in a row
        self._too_long = 0  # refusals in a row because of the prompt's length
        self._outage_recorded = False
        if state.role is Role.ORCHESTRATOR and settings.preload:
            # One process per crew loads the model, before any agent waits for it.
            preload.start(settings.hosts, self._options, limits)

    @property
    def hosts(self) -> list[ModelHost]:
        """The model hosts, the agent's preferred one first."""
        return self._pool.hosts

    def close(self) -> None:
        """Close the connections kept during a turn."""
        self._pool.close()

    def call(self, turn: Message) -> StepResult:
        """Call the model once and commit its reply; or compact the prompt, or wait after a failure.

        A reply without calls ends the turn in the same transaction, unless something has to be done first.
        """
        if self._window.compact():
            return Continue()
        failpoint("before_model_call")
        started = time.monotonic()
        try:
            reply = self._request()
        except ModelError as error:
            return self._after_failure(error)
        failpoint("model_answered")
        self._state.budget.add_work(time.monotonic() - started - (reply.cost.queue_ms or 0.0) / 1000)
        result = self._commit(turn, reply)
        failpoint("reply_written")
        return result

    def _request(self) -> ReplyBody:
        """The model's reply, with its tool calls checked. Raises a `ModelError`."""
        slot_wait = SlotWait(self._state)
        request = ChatRequest(
            agent=self._runtime.name,
            is_brief=self._state.role in BRIEF_ROLES,
            messages=self._window.messages,
            tools=self._state.specs,
            options=ladder.sampling(self._options, self._state.budget.rung, self._malformed),
            cancelled=self._runtime.coupling.cancelled,
            on_wait=slot_wait.on_wait,
            on_slot=slot_wait.on_slot,
        )
        try:
            host_reply = self._pool.chat(request, self._new_stream)
        except ModelError:
            self._stream().discard()
            raise
        self._malformed = 0
        return self._body(host_reply)

    def _new_stream(self) -> Callable[[str], None]:
        self._attempts += 1
        return self._stream().send

    def _stream(self) -> LiveStream:
        return LiveStream(self._runtime.waker, self._runtime.name, self._stream_number())

    def _stream_number(self) -> int:
        """The number of the latest attempt; it rises across restarts too."""
        return self._runtime.generation * 1_000_000 + self._attempts

    def _body(self, host_reply: HostReply) -> ReplyBody:
        reply = host_reply.reply
        extraction = extract(reply, self._state.specs)
        problems = list(extraction.problems)
        if reply.done_reason == "length" and not extraction.calls and not problems:
            problems.append(CUT)
        if extraction.is_empty:
            problems.append(EMPTY)
        return ReplyBody(
            text=extraction.text.strip(),
            calls=tuple(Call(call.name, call.arguments) for call in extraction.calls),
            problems=tuple(problems),
            done_reason=reply.done_reason,
            cost=_cost(host_reply, self._window.characters),
            host=host_reply.host,
            stream=self._stream_number(),
        )

    # -- the reply -----------------------------------------------------------------------------

    def _commit(self, turn: Message, reply: ReplyBody) -> Continue | Ended:
        ends = not reply.calls and not reply.problems and self._state.unfinished_duty(turn) is None
        planned = self._tool_calls.plan_first(turn, reply)
        intent: Intent | None = None
        cut = self._window.find_cut(reply)

        def effects(tx: Transaction) -> list[Entry]:
            nonlocal intent
            entry = self._state.append(tx, reply)
            self._state.budget.add_reply(tx, reply.cost)
            for message in self._unanswered_people(turn) if reply.text else ():
                self._state.answer(tx, message, reply.text)
            if ends:
                self._state.finish(tx, turn, reply.text)
            if planned is not None:
                intent = self._tool_calls.record_intent(tx, planned, entry.id)
            if cut is not None:
                self._window.record_cut(tx, reply.host, cut)
            return [entry]

        if ends:
            self._state.write(effects)
        elif planned is None:
            self._state.write(effects, Activity.MODEL)
        else:
            self._state.write(effects, Activity.TOOL, planned.patience_s)
        self._tool_calls.carry(intent)
        self._outage_recorded = False
        self._too_long = 0
        return Ended() if ends else Continue()

    def _unanswered_people(self, turn: Message) -> list[int]:
        """Messages from people that came during the turn and that no text of the model has followed yet."""
        found: list[int] = []
        for entry in reversed(self._state.memory.entries):
            if entry.message == turn.id:
                break
            match entry.body:
                case ReplyBody(text=text) if text:
                    break
                case MessageBody(sender=sender) if sender == HUMAN and entry.message:
                    found.append(entry.message)
        return found

    # -- failures ------------------------------------------------------------------------------

    def _after_failure(self, error: ModelError) -> Continue | Stuck:
        match error:
            case ModelCancelled():
                return Continue()
            case PromptTooLong():
                return self._after_too_long(error)
            case ReplyMalformed():
                return self._after_malformed(error)
            case ModelUnavailable() | RequestRefused():
                self._record_outage(error)
                self._pool.wait_to_retry(error, self._runtime.coupling.cancelled)
                return Continue()
        raise error

    def _after_malformed(self, error: ReplyMalformed) -> Continue | Stuck:
        log.warning("reply_malformed", actor=self._runtime.name, reason=str(error))
        self._malformed += 1
        if self._malformed < self._runtime.config.budgets.format_errors:
            return Continue()
        self._malformed = 0
        return Stuck(f"the model's replies could not be read: {error}")

    def _after_too_long(self, error: PromptTooLong) -> Continue | Stuck:
        """Compact the prompt. If that is impossible try again before giving up: a server that is just loading
        the model may refuse a prompt that fits."""
        if self._window.compact(force=True):
            return Continue()
        self._too_long += 1
        if self._too_long <= TOO_LONG_TRIES and self._window.fits():
            self._pool.wait_to_retry(error, self._runtime.coupling.cancelled)
            return Continue()
        self._too_long = 0
        return Stuck(f"its prompt does not fit the window: {error}")

    def _record_outage(self, error: ModelUnavailable | RequestRefused) -> None:
        """Record one incident per outage, and a deadline: an agent that waits for a model is not unresponsive."""
        if self._outage_recorded:
            self._state.expect(Activity.WAITING, OUTAGE_PATIENCE_S, at_least_s=OUTAGE_PATIENCE_S / 2)
            return
        self._outage_recorded = True
        with self._runtime.store.write(self._runtime.fence) as tx:
            self._state.set_activity(tx, Activity.WAITING, OUTAGE_PATIENCE_S)
            incidents.record(
                tx,
                IncidentKind.MODEL_UNAVAILABLE,
                now=self._runtime.clock(),
                agent=self._runtime.name,
                project=self._state.project,
                needs_human=isinstance(error, RequestRefused),
                reason=str(error),
            )


@dataclass(slots=True)
class SlotWait:
    """Records that the agent waits for a slot of its host, if the wait is long enough for a commit.

    The deadline is renewed at half its time, so a waiting agent never misses it, but a blocked one does.
    """

    state: WorkingState
    recorded_at_s: float | None = None

    def on_wait(self, waited_s: float) -> None:
        """Called while the agent waits, with the seconds waited so far."""
        due_s = WAITING_AFTER_S
        if self.recorded_at_s is not None:
            due_s = self.recorded_at_s + WAITING_PATIENCE_S / 2
        if waited_s >= due_s:
            self.recorded_at_s = waited_s
            with self.state.runtime.store.write(self.state.runtime.fence) as tx:
                self.state.set_activity(tx, Activity.WAITING, WAITING_PATIENCE_S)

    def on_slot(self) -> None:
        """Called when the agent has a slot."""
        self.recorded_at_s = None
        self.state.expect(Activity.MODEL)


def _cost(host_reply: HostReply, prompt_characters: int) -> ReplyCost:
    cost = host_reply.reply.cost
    return ReplyCost(
        prompt_tokens=cost.prompt_tokens,
        cached_tokens=cost.cached_tokens,
        generated_tokens=cost.generated_tokens,
        load_ms=cost.load_ms,
        prefill_ms=cost.prefill_ms,
        generation_ms=cost.generation_ms,
        total_ms=cost.total_ms,
        queue_ms=round(host_reply.queue_ms, 1),
        prompt_characters=prompt_characters,
    )
