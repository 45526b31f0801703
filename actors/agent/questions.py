"""Asking the model: one question, its reply committed; what failures mean for the turn; the window."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from actors import log
from actors.agent import context
from actors.agent.asking import Asker
from actors.agent.desk import Desk
from actors.agent.summary import written_summary
from actors.messages import HUMAN
from actors.model.errors import (
    ModelCancelled,
    ModelUnavailable,
    PromptTooLong,
    ReplyMalformed,
    RequestRefused,
)
from store import incidents, tasks
from store.engine import Transaction
from store.failpoints import failpoint
from store.history import Entry
from store.inbox import Row
from store.states import Activity, EntryKind


class Questions:
    """The part of an agent that talks to its model."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.runtime = desk.runtime
        self.memory = desk.memory
        self.asker = Asker(desk.runtime, desk.runtime.config.model.options(desk.role))
        self.ended = False
        self._outage_noted = False

    def ask_model(self, turn: Row, may_end: Callable[[Row], bool]) -> str | None:
        """One question, its reply committed; a last word that may end the turn ends it in the same
        transaction (`ended`). Returns why the turn is stuck, None if it is not."""
        if self.compact():
            return None
        failpoint("before_model_call")
        began = time.monotonic()
        try:
            body = self.asker.ask(context.prompt(self.memory.entries), self.desk.specs, self.desk.rung())
        except ModelCancelled:
            return None
        except PromptTooLong as error:
            return None if self.compact(force=True) else f"its prompt does not fit the window: {error}"
        except (ModelUnavailable, RequestRefused) as error:
            self._note_outage(error)
            self.asker.wait_out(error)
            return None
        except ReplyMalformed as error:
            log.warning("reply_malformed", actor=self.runtime.name, reason=str(error))
            if self.asker.malformed >= self.runtime.config.budgets.format_errors:
                self.asker.malformed = 0
                return f"the model's replies could not be read: {error}"
            return None
        failpoint("model_answered")
        self.desk.active_s += time.monotonic() - began - body["cost"].get("queue_ms", 0.0) / 1000
        self._commit_reply(turn, body, may_end)
        failpoint("reply_written")
        return None

    def _commit_reply(self, turn: Row, body: dict[str, Any], may_end: Callable[[Row], bool]) -> None:
        last = not body["calls"] and not body["problems"] and may_end(turn)

        def reply(tx: Transaction) -> list[Entry]:
            entry = self.desk.append(tx, EntryKind.REPLY, body)
            self._count(tx, body["cost"])
            for message in self._unanswered_people(turn) if body["text"] else ():
                self.desk.answer(tx, message, body["text"])
            if last:
                self.desk.finish(tx, turn, body["text"])
            elif self._outage_noted:
                self.desk.set_activity(tx, Activity.MODEL)
            return [entry]

        self.desk.write(reply)
        self._outage_noted = False
        self.ended = last

    def _unanswered_people(self, turn: Row) -> list[int]:
        """Messages that people put into the running turn and that no text has followed yet."""
        owed: list[int] = []
        for entry in reversed(self.memory.entries):
            if entry.kind is EntryKind.REPLY and entry.body["text"]:
                break
            if entry.message == turn.id:
                break
            if entry.kind is EntryKind.MESSAGE and entry.body["sender"] == HUMAN and entry.message:
                owed.append(entry.message)
        return owed

    def _note_outage(self, error: ModelUnavailable | RequestRefused) -> None:
        """An incident and a state, once an outage; who waits for a model is not late."""
        if self._outage_noted:
            return
        self._outage_noted = True
        with self.runtime.store.write(self.runtime.fence) as tx:
            self.desk.set_activity(tx, Activity.WAITING)
            incidents.record(
                tx,
                "model_unavailable",
                now=self.runtime.clock(),
                agent=self.runtime.name,
                project=self.desk.project,
                needs_human=isinstance(error, RequestRefused),
                reason=str(error),
            )

    # -- the window ----------------------------------------------------------------------------

    def compact(self, *, force: bool = False) -> bool:
        """Keep the prompt well inside the window; True if the context was changed (then look again)."""
        options = self.asker.options
        room = options.context_window - options.max_tokens
        tools_characters = sum(len(str(spec.as_json())) for spec in self.desk.specs)
        used = context.tokens(self.memory.entries, tools_characters) / room
        mask_to = context.next_mask(self.memory.entries)
        if mask_to is not None and (force or used >= context.MASK_AT):
            log.info("context_masked", actor=self.runtime.name, used=round(used, 2))
            now = self.runtime.clock()
            self.desk.write(lambda tx: self.memory.mask(tx, mask_to, now=now))
            return True
        keep_from = context.next_keep(self.memory.entries)
        if keep_from is not None and (force or used >= context.SUMMARISE_AT):
            log.info("context_summarised", actor=self.runtime.name, used=round(used, 2))
            text = written_summary(self.memory.entries, keep_from)
            now = self.runtime.clock()
            self.desk.write(lambda tx: self.memory.summarise(tx, text, keep_from, now=now))
            return True
        return False

    def _count(self, tx: Transaction, cost: dict[str, Any]) -> None:
        if self.desk.task is None:
            return
        usage = dict(tasks.current(tx, self.desk.task)["usage"])
        usage["steps"] = usage.get("steps", 0) + 1
        for name in ("prompt_tokens", "cached_tokens", "generated_tokens", "total_ms"):
            usage[name] = usage.get(name, 0) + (cost.get(name) or 0)
        usage["active_s"] = round(usage.get("active_s", 0.0) + self.desk.active_s, 3)
        self.desk.active_s = 0.0
        tasks.amend(tx, self.desk.task, now=self.runtime.clock(), usage=usage)
