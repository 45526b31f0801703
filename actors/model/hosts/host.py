"""One model host: its circuit breaker, its slots and its client around each request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors import log
from actors.home import model_folder
from actors.model import wire
from actors.model.admin import probe
from actors.model.errors import ModelUnavailable, ReplyMalformed
from actors.model.hosts.breaker import Breaker, Permit, State
from actors.model.hosts.slot_files import Slot
from actors.model.hosts.slots import Slots
from actors.model.ollama import OllamaClient
from actors.model.protocol import ChatMessage, Limits, ModelOptions, Reply, ToolSpec

PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request of an agent, and its callbacks.

    `is_brief`: the agent's turns are short, so it waits ahead of others for a slot. `on_wait` is called at every
    check of the queue with the seconds waited so far, `on_slot` once before the request is sent.
    """

    agent: str
    is_brief: bool
    messages: Sequence[ChatMessage]
    tools: Sequence[ToolSpec]
    options: ModelOptions
    cancelled: threading.Event
    on_wait: Callable[[float], None]
    on_slot: Callable[[], None]


@dataclass(frozen=True, slots=True)
class HostReply:
    """The reply, the URL of the host that sent it, and how long the request waited for a slot there."""

    reply: Reply
    host: str
    queue_ms: float


class BreakerOpen(ModelUnavailable):
    """No request was sent: the host's breaker is open, or another process is probing the host."""


class ProbeFailed(ModelUnavailable):
    """The host did not answer the short request that precedes the first chat of the half-open state."""


class ModelHost:
    """One host as an agent uses it."""

    def __init__(self, url: str, run_folder: Path, limits: Limits, slots: int) -> None:
        """`run_folder` is the crew's; with `slots` 0 the number of slots is learned."""
        folder = model_folder(run_folder, url)
        self.url = url
        self.breaker = Breaker(folder)
        self.slots = Slots(folder, slots)
        self.client = OllamaClient(url, limits, keep_connection=True)

    def chat(self, request: ChatRequest, on_text: Callable[[str], None]) -> HostReply:
        """Send the request when a slot is free. Raises what `OllamaClient.chat` raises, and `BreakerOpen`."""
        with self.breaker.permit() as permit:
            if permit is None:
                raise self._open_error()
            started_at = time.time()
            try:
                if permit.is_probe:
                    self._probe(request.options.model)
                with self.slots.acquire(
                    request.agent,
                    is_brief=request.is_brief,
                    cancelled=request.cancelled,
                    on_wait=request.on_wait,
                ) as slot:
                    return self._chat(request, on_text, permit, slot)
            except BreakerOpen:
                raise
            except ModelUnavailable as error:
                self._record_failure(error, started_at)
                raise
            except ReplyMalformed:
                self._record_success()  # the host works, even if this reply was bad
                raise

    def _chat(
        self, request: ChatRequest, on_text: Callable[[str], None], permit: Permit, slot: Slot
    ) -> HostReply:
        # The host may have failed while this request waited: the agents in the queue must not all try it.
        if not permit.is_probe and self.breaker.state() is not State.CLOSED:
            raise self._open_error()
        request.on_slot()

        def receive(text: str) -> None:
            if permit.is_probe:
                # The first text proves that the host works; the others need not wait for the rest.
                self._record_success()
                permit.release()
            on_text(text)

        reply = self.client.chat(
            request.messages, request.tools, request.options, on_text=receive, cancelled=request.cancelled
        )
        self._record_success()
        slot.cost = reply.cost
        slot.expects_followup = bool(reply.tool_calls)
        return HostReply(reply, self.url, slot.queue_ms)

    def _probe(self, model: str) -> None:
        """Check with a short request first, so that a dead host does not cost the long limits of a chat."""
        status = probe(self.url, PROBE_TIMEOUT_S)
        if not status.reachable:
            raise ProbeFailed(status.error or f"{self.url} does not answer", host=self.url, model=model)

    def _open_error(self) -> BreakerOpen:
        reason = self.breaker.health().reason or "another agent is probing it"
        return BreakerOpen(f"{self.url} is paused after failures: {reason}", host=self.url)

    def _record_failure(self, error: ModelUnavailable, started_at: float) -> None:
        # A request that hung or broke may itself be the cause; a refused connection never is.
        unreachable = isinstance(error, ProbeFailed) or wire.is_no_connection(error)
        health = self.breaker.record_failure(str(error), unreachable=unreachable, started_at=started_at)
        if health.openings:
            retry_s = max(0.0, health.retry_at - time.time())
            log.warning("breaker_opened", host=self.url, reason=str(error), retry_s=round(retry_s, 1))

    def _record_success(self) -> None:
        if self.breaker.record_success():
            log.info("breaker_closed", host=self.url)
