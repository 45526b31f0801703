"""The actors that benchmarks start through the real supervisor.

Clerk      handles a text with what an agent's step writes: two history rows of 1 kB and one message out;
           `sent_at NS` also notes how long ago, by the monotonic clock, that was; `report` answers with the notes
Thrifty    an agent as it is, that also collects all its garbage when told `collect`
"""

from __future__ import annotations

import gc
import json
import time

from actors.agent.agent import Agent
from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN
from actors.runtime.context import Effects, Runtime
from actors.runtime.handler import MessageActor
from actors.runtime.messages import AnyMessage, Text
from store import history, inbox
from store.engine import Transaction
from store.entries import ReplyBody, ToolResultBody
from store.rows import Message

CLERK = "tests.benchmarks.kinds:Clerk"
THRIFTY = "tests.benchmarks.kinds:Thrifty"
ROW_TEXT = "x" * 1000
COLLECT = "collect"


class Clerk(MessageActor):
    """See above."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.delays_ms: list[float] = []

    def handle(self, message: AnyMessage, row: Message) -> Effects:
        entered_ns = time.monotonic_ns()
        assert isinstance(message, Text)
        verb, _, rest = message.text.partition(" ")
        if verb == "report":
            report = json.dumps(self.delays_ms)
            self.delays_ms = []
            return self._answer(row, report)
        if verb == "sent_at":
            self.delays_ms.append((entered_ns - int(rest)) / 1e6)
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
