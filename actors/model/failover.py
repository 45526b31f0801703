"""An agent's lines to its model hosts: which to ask, past its breaker and through its gate.

An agent stays with its host and so with its warm prefix. When that one is down it goes to the next that
is not, and home again some time after home has come back, each agent at its own moment.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from actors import log
from actors.home import model_folder
from actors.model.breaker import Breaker, Pass, State
from actors.model.errors import ModelMissing, ModelUnavailable, ReplyMalformed
from actors.model.ollama import OllamaModel, probe
from actors.model.protocol import ChatMessage, Limits, ModelOptions, Reply, ToolSpec
from actors.model.slots import Slot, SlotGate

HOME_AGAIN_S = 60.0
MISSING_S = 300.0  # how long a host that lacks the model is passed over while others have it
PROBE_S = 2.0
_NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout, ConnectionRefusedError)


@dataclass(frozen=True, slots=True)
class Question:
    """One request, and what the asker wants to hear of it."""

    who: str
    brief: bool
    messages: Sequence[ChatMessage]
    tools: Sequence[ToolSpec]
    options: ModelOptions
    cancelled: threading.Event
    on_wait: Callable[[float], None]  # at every look in the line, with the seconds waited so far
    on_slot: Callable[[], None]  # the wait, if there was one, is over


@dataclass(frozen=True, slots=True)
class Answered:
    """The reply, and how long it waited for a slot of which host."""

    reply: Reply
    host: str
    queue_ms: float


class HostLine:
    """One host: its breaker, its gate, its client."""

    def __init__(self, url: str, run_folder: Path, limits: Limits, slots: int) -> None:
        folder = model_folder(run_folder, url)
        self.url = url
        self.breaker = Breaker(folder)
        self.gate = SlotGate(folder, slots)
        self.model = OllamaModel(url, limits, keeps_connection=True)

    def ask(self, question: Question, on_text: Callable[[str], None]) -> Answered:
        """Raises what `ChatModel.chat` does, and `ModelUnavailable` at once while the host rests."""
        with self.breaker.leave() as leave:
            if leave is None:
                raise self._resting()
            began_at = time.time()
            try:
                if leave.is_probe:
                    self._find_out(question.options.model)
                with self.gate.slot(
                    question.who,
                    brief=question.brief,
                    cancelled=question.cancelled,
                    on_wait=question.on_wait,
                ) as slot:
                    return self._ask(question, on_text, leave, slot)
            except ModelUnavailable as error:
                self._failed(error, began_at)
                raise
            except ReplyMalformed:
                self._succeeded()  # it answers, if badly
                raise

    def _ask(self, question: Question, on_text: Callable[[str], None], leave: Pass, slot: Slot) -> Answered:
        # It may have gone down while we waited: a line of agents must not try it one after another.
        if not leave.is_probe and self.breaker.state() is not State.CLOSED:
            raise self._resting()
        question.on_slot()

        def hear(text: str) -> None:
            if leave.is_probe:
                self._succeeded()
                leave.settle()
            on_text(text)

        reply = self.model.chat(
            question.messages,
            question.tools,
            question.options,
            on_text=hear,
            cancelled=question.cancelled,
        )
        self._succeeded()
        slot.cost = reply.cost
        slot.comes_back = bool(reply.tool_calls)
        return Answered(reply, self.url, slot.queue_ms)

    def _resting(self) -> HostResting:
        reason = self.breaker.health().reason or "somebody else tries it now"
        return HostResting(f"{self.url} rests after failures: {reason}", host=self.url)

    def _find_out(self, model: str) -> None:
        """A cheap question first: a host that is still away must not cost a prompt's patience."""
        status = probe(self.url, PROBE_S)
        if not status.reachable:
            raise HostAway(status.error or f"{self.url} is away", host=self.url, model=model)

    def _failed(self, error: ModelUnavailable, began_at: float) -> None:
        if isinstance(error, HostResting):
            return
        # A request that hung or broke may be that request's own fault; a refused connection is not.
        unreachable = isinstance(error, HostAway) or isinstance(error.__cause__, _NO_CONNECTION)
        health = self.breaker.failed(str(error), unreachable=unreachable, began_at=began_at)
        if health.openings:
            rests_s = max(0.0, health.retry_at - time.time())
            log.warning("host_rests", host=self.url, reason=str(error), rests_s=round(rests_s, 1))

    def _succeeded(self) -> None:
        if self.breaker.succeeded():
            log.info("host_answers_again", host=self.url)


class HostResting(ModelUnavailable):
    """The host was not asked: its breaker is open, or another process tries it now."""


class HostAway(ModelUnavailable):
    """The host did not answer the cheap question that goes before a try."""


class Lines:
    """All hosts of an agent, in its own order."""

    def __init__(self, who: str, hosts: Sequence[str], run_folder: Path, limits: Limits, slots: int) -> None:
        own = zlib.crc32(who.encode())
        first = own % len(hosts)
        urls = [*hosts[first:], *hosts[:first]]
        self.all = [HostLine(url, run_folder, limits, slots) for url in urls]
        self._now = 0
        self._away_since: float | None = None
        self._home_after_s = HOME_AGAIN_S * (1 + own % 100 / 100)
        self._missing_until: dict[str, float] = {}

    def ask(self, question: Question, new_stream: Callable[[], Callable[[str], None]]) -> Answered:
        """From the agent's host, or the next one that answers. Raises the last host's error.

        `new_stream` is called before each try and gives what takes its text.
        """
        self._go_home()
        last: ModelUnavailable | ModelMissing | None = None
        for number in self._in_order():
            line = self.all[number]
            try:
                answered = line.ask(question, new_stream())
            except ModelMissing as error:
                self._missing_until[line.url] = time.monotonic() + MISSING_S
                last = error
            except ModelUnavailable as error:
                # What a host said itself tells more than that it rests.
                last = error if last is None or not isinstance(error, HostResting) else last
            else:
                self._stay(number)
                return answered
        assert last is not None, "there is at least one host"
        raise last

    def hang_up(self) -> None:
        """After a turn: who waits for its next one holds no connection."""
        for line in self.all:
            line.model.hang_up()

    def all_rest(self) -> bool:
        return all(line.breaker.state() is not State.CLOSED for line in self.all)

    def next_try_s(self) -> float:
        """Seconds until some host may be tried again; 0 if one may be now."""
        soonest = min(line.breaker.health().retry_at for line in self.all)
        return max(0.0, soonest - time.time())

    def _in_order(self) -> list[int]:
        """The host it is with first; those without the model only if no other is left."""
        now = time.monotonic()
        order = [*range(self._now, len(self.all)), *range(self._now)]
        return sorted(order, key=lambda number: self._missing_until.get(self.all[number].url, 0) > now)

    def _stay(self, number: int) -> None:
        if number != self._now:
            log.warning("host_changed", host=self.all[number].url, was=self.all[self._now].url)
            self._now = number
            self._away_since = None if number == 0 else time.monotonic()

    def _go_home(self) -> None:
        """Back to the first host, where the crew's share of load is its, some time after it answers again."""
        if self._away_since is None or time.monotonic() - self._away_since < self._home_after_s:
            return
        if self.all[0].breaker.state() is State.CLOSED:
            self._stay(0)
