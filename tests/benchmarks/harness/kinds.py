"""The actors that benchmarks start through the real supervisor.

Canned     an agent as it is, whose model host answers in process: only the socket to the model is missing
Clerk      a bare message actor. It handles a text with what an agent's turn writes, so it is the limit for an agent
Thrifty    an agent as it is, that also collects all its garbage when told `collect`

Canned and Clerk note how long ago a text `sent_at NS` was sent, by the monotonic clock, and answer `report` with
the notes as JSON: milliseconds until the actor took each message, and for Canned until it asked its model.
"""

from __future__ import annotations

import gc
import json
import threading
import time
from collections.abc import Callable

from actors.agent.agent import Agent
from actors.model.ollama import OllamaClient
from actors.model.protocol import Reply
from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN
from actors.runtime.context import Effects, Runtime
from actors.runtime.handler import MessageActor
from actors.runtime.messages import AnyMessage, Text
from store import history, inbox
from store.engine import Transaction
from store.entries import ReplyBody, ToolResultBody
from store.rows import Message

CANNED = "tests.benchmarks.harness.kinds:Canned"
CLERK = "tests.benchmarks.harness.kinds:Clerk"
THRIFTY = "tests.benchmarks.harness.kinds:Thrifty"
ROW_TEXT = "x" * 1000
COLLECT = "collect"


class Clerk(MessageActor):
    """See above."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.taken_ms: list[float] = []

    def handle(self, message: AnyMessage, row: Message) -> Effects:
        entered_ns = time.monotonic_ns()
        assert isinstance(message, Text)
        verb, _, rest = message.text.partition(" ")
        if verb == "report":
            report = json.dumps({"taken": self.taken_ms})
            self.taken_ms = []
            return self._answer(row, report)
        if verb == "sent_at":
            self.taken_ms.append((entered_ns - int(rest)) / 1e6)
        return self._step(row)

    def _answer(self, row: Message, text: str) -> Effects:
        def effects(tx: Transaction) -> None:
            mailbox.post(
                tx, self.runtime.name, HUMAN, Text(text=text), now=self.now(), in_reply_to=row.id
            )  # fmt: skip

        return effects

    def _step(self, row: Message) -> Effects:
        def effects(tx: Transaction) -> None:
            fence, now = self.runtime.fence, self.now()
            reply = history.append(tx, fence, ReplyBody(ROW_TEXT), now=now, message=row.id)
            result = ToolResultBody(reply.id, 0, "shell", ROW_TEXT, ok=True)
            history.append(tx, fence, result, now=now, message=row.id)
            mailbox.post(tx, self.runtime.name, HUMAN, Text(text="done"), now=self.now())

        return effects


class Canned(Agent):
    """See above."""

    def recover(self) -> None:
        super().recover()
        self.client = CannedClient("http://127.0.0.1:9")
        for host in self._model_calls.hosts:
            host.client = self.client

    def take(self, row: Message) -> None:
        taken_ns = time.monotonic_ns()
        verb, _, rest = str(row.body.get("text", "")).partition(" ")
        self.client.begin(taken_ns, int(rest) if verb == "sent_at" else None, reports=verb == "report")
        super().take(row)


class CannedClient(OllamaClient):
    """Encodes each request as for a real host, and answers with one text of 1 kB."""

    def __init__(self, host: str) -> None:
        super().__init__(host, keep_connection=True)
        self._sent_at_ns: int | None = None
        self._reports = False
        self._taken_ms: list[float] = []
        self._asked_ms: list[float] = []

    def begin(self, taken_ns: int, sent_at_ns: int | None, *, reports: bool) -> None:
        """A message was taken. The request that follows belongs to it."""
        self._sent_at_ns, self._reports = sent_at_ns, reports
        if sent_at_ns is not None:
            self._taken_ms.append((taken_ns - sent_at_ns) / 1e6)

    def _request(
        self, body: bytes, model: str, on_text: Callable[[str], None], cancelled: threading.Event
    ) -> Reply:
        if self._sent_at_ns is not None:
            self._asked_ms.append((time.monotonic_ns() - self._sent_at_ns) / 1e6)
        text = ROW_TEXT
        if self._reports:
            text = json.dumps({"taken": self._taken_ms, "asked": self._asked_ms})
            self._taken_ms, self._asked_ms = [], []
        on_text(text)
        return Reply(text)


class Thrifty(Agent):
    """See above."""

    def take(self, row: Message) -> None:
        if row.body.get("text") != COLLECT:
            super().take(row)
            return
        gc.collect()
        with self.write() as tx:
            inbox.claim(tx, row.id, generation=self.runtime.generation, now=self.now())
            inbox.acknowledge(tx, row.id, now=self.now())
