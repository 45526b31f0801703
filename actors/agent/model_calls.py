"""Asking the model: one question, its reply committed; what failures mean for the turn; the window."""

from __future__ import annotations

import time
from collections.abc import Callable

from actors import log
from actors.agent import preloading, prompt
from actors.agent.asking import Asker, cut_prompt
from actors.agent.state import Desk
from actors.agent.summary import written_summary
from actors.agent.tool_calls import Tooling
from actors.model.errors import (
    ModelCancelled,
    ModelUnavailable,
    PromptTooLong,
    ReplyMalformed,
    RequestRefused,
)
from actors.model.truncation import PromptSize
from actors.runtime.addresses import HUMAN
from store import incidents, tasks
from store.engine import Transaction
from store.entries import Entry, MessageBody, ReplyBody, ReplyCost
from store.failpoints import failpoint
from store.inbox import Row
from store.journal import Intent
from store.states import Activity, Role

TOO_LONG_TRIES = 2
OUTAGE_PATIENCE_S = 1_800.0  # longer than any pause between two tries


class Questions:
    """The part of an agent that talks to its model."""

    def __init__(self, desk: Desk, tooling: Tooling) -> None:
        self.desk = desk
        self.tooling = tooling
        self.runtime = desk.runtime
        self.memory = desk.memory
        self.asker = Asker(desk, desk.runtime.config.model.options(desk.role))
        self.prompt = prompt.GrowingPrompt()
        self.ended = False
        self._outage_noted = False
        self._refused_as_too_long = 0
        self._cut_in: int | None = None  # the context of which a cut prompt was told
        self._window = self.asker.options.context_window
        self._must_compact = False
        if desk.role is Role.ORCHESTRATOR and desk.runtime.config.model.preload:
            # One per crew, so that the model loads before anybody waits for it, and is loaded once.
            preloading.start(desk.runtime, self.asker.options)

    def ask_model(self, turn: Row, may_end: Callable[[Row], bool]) -> str | None:
        """One question, its reply committed; a last word that may end the turn ends it in the same
        transaction (`ended`). Returns why the turn is stuck, None if it is not."""
        must, self._must_compact = self._must_compact, False
        if self.compact(force=must):
            return None
        failpoint("before_model_call")
        began = time.monotonic()
        try:
            reply = self.asker.ask(self.prompt, self.desk.rung())
        except ModelCancelled:
            return None
        except PromptTooLong as error:
            return self._too_long(error)
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
        self.desk.active_s += time.monotonic() - began - (reply.cost.queue_ms or 0.0) / 1000
        self._commit_reply(turn, reply, may_end)
        failpoint("reply_written")
        return None

    def _commit_reply(self, turn: Row, reply: ReplyBody, may_end: Callable[[Row], bool]) -> None:
        last = not reply.calls and not reply.problems and may_end(turn)
        due = self.tooling.due(turn, reply)
        intents: list[Intent] = []
        cut = self._new_cut(reply)

        def effects(tx: Transaction) -> list[Entry]:
            entry = self.desk.append(tx, reply)
            self._count(tx, reply.cost)
            for message in self._unanswered_people(turn) if reply.text else ():
                self.desk.answer(tx, message, reply.text)
            if last:
                self.desk.finish(tx, turn, reply.text)
            if due is not None:
                intents.append(self.tooling.intend(tx, due, entry.id))
            if cut is not None:
                self._record_cut(tx, reply.host, cut)
            return [entry]

        if last:
            self.desk.write(effects)
        elif due is None:
            self.desk.write(effects, Activity.MODEL)
        else:
            self.desk.write(effects, Activity.TOOL, due.patience_s)
            self.desk.unbegun = intents[0]
        self._outage_noted = False
        self._refused_as_too_long = 0
        self.ended = last

    def _unanswered_people(self, turn: Row) -> list[int]:
        """Messages that people put into the running turn and that no text has followed yet."""
        owed: list[int] = []
        for entry in reversed(self.memory.entries):
            if entry.message == turn.id:
                break
            match entry.body:
                case ReplyBody(text=text) if text:
                    break
                case MessageBody(sender=sender) if sender == HUMAN and entry.message:
                    owed.append(entry.message)
        return owed

    def _note_outage(self, error: ModelUnavailable | RequestRefused) -> None:
        """An incident and a state, once an outage; who waits for a model is not late, who hangs is."""
        if self._outage_noted:
            self.desk.expect(Activity.WAITING, OUTAGE_PATIENCE_S, at_least_s=OUTAGE_PATIENCE_S / 2)
            return
        self._outage_noted = True
        with self.runtime.store.write(self.runtime.fence) as tx:
            self.desk.set_activity(tx, Activity.WAITING, OUTAGE_PATIENCE_S)
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

    def _too_long(self, error: PromptTooLong) -> str | None:
        """Compact; where nothing is left to compact, ask again before giving up: a server that loads the
        model anew may refuse a prompt that fits."""
        if self.compact(force=True):
            return None
        self._refused_as_too_long += 1
        if self._refused_as_too_long <= TOO_LONG_TRIES and self._used() < 1:
            self.asker.wait_out(error)
            return None
        self._refused_as_too_long = 0
        return f"its prompt does not fit the window: {error}"

    def _new_cut(self, reply: ReplyBody) -> PromptSize | None:
        """What was sent and what the server reports, if it read only a part; once per context."""
        context_id = self.memory.entries[0].id
        cut = cut_prompt(reply.cost, self.memory.entries, self.asker.options.context_window)
        if cut is None or self._cut_in == context_id:
            return None
        self._cut_in = context_id
        self._must_compact = True
        # From now on we believe the server, but never less than half of what was agreed: one that reports
        # nonsense must not stop the work.
        reported = cut.tokens + self.asker.options.max_tokens
        self._window = max(self.asker.options.context_window // 2, min(self._window, reported))
        log.error(
            "prompt_cut",
            actor=self.runtime.name,
            host=reply.host,
            asked_characters=cut.characters,
            reported_tokens=cut.tokens,
        )
        return cut

    def _record_cut(self, tx: Transaction, host: str, cut: PromptSize) -> None:
        incidents.record(
            tx,
            "prompt_cut",
            now=self.runtime.clock(),
            agent=self.runtime.name,
            project=self.desk.project,
            needs_human=True,
            host=host,
            context_window=self.asker.options.context_window,
            asked_characters=cut.characters,
            reported_tokens=cut.tokens,
        )

    def _used(self) -> float:
        """The share of the room for a prompt that the next one takes."""
        self.prompt.follow(self.memory.entries)
        characters = self.prompt.characters + self.desk.tools_characters
        return prompt.tokens(self.memory.entries, characters) / self._room()

    def _room(self) -> int:
        """Tokens that a prompt may have, so that the answer still fits."""
        return self._window - self.asker.options.max_tokens

    def compact(self, *, force: bool = False) -> bool:
        """Keep the prompt well inside the window; True if the context was changed (then look again)."""
        used = self._used()
        if not force and used < min(prompt.MASK_AT, prompt.SUMMARISE_AT):
            return False
        mask_to = prompt.next_mask(self.memory.entries, self._room())
        if mask_to is not None and (force or used >= prompt.MASK_AT):
            log.info("context_masked", actor=self.runtime.name, used=round(used, 2))
            now = self.runtime.clock()
            self.desk.write(lambda tx: self.memory.mask(tx, mask_to, now=now))
            return True
        keep_from = prompt.next_keep(self.memory.entries, self._room())
        if keep_from is not None and (force or used >= prompt.SUMMARISE_AT):
            log.info("context_summarised", actor=self.runtime.name, used=round(used, 2))
            text = written_summary(self.memory.entries, keep_from)
            now = self.runtime.clock()
            self.desk.write(lambda tx: self.memory.summarise(tx, text, keep_from, now=now))
            return True
        return False

    def _count(self, tx: Transaction, cost: ReplyCost) -> None:
        if self.desk.task is None:
            return
        usage = dict(tasks.current(tx, self.desk.task)["usage"])
        usage["steps"] = usage.get("steps", 0) + 1
        for name in ("prompt_tokens", "cached_tokens", "generated_tokens", "total_ms", "queue_ms"):
            usage[name] = usage.get(name, 0) + (getattr(cost, name) or 0)
        usage["active_s"] = round(usage.get("active_s", 0.0) + self.desk.active_s, 3)
        self.desk.active_s = 0.0
        self.desk.count(tx, usage)
