"""How each step of a turn is carried out and committed; which one is due is `turn.py`'s decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors import log, mailbox, work, workspace
from actors.actor import Effects, Runtime, nothing
from actors.agent import briefing, context, duties
from actors.agent.asking import Asker
from actors.agent.ladder import Rung, next_rung
from actors.agent.memory import Memory
from actors.agent.summary import written_summary
from actors.agent.turn import RunTool, last_reply, unanswered
from actors.agent.workbench import Workbench
from actors.messages import HUMAN, Text
from actors.model.errors import (
    ModelCancelled,
    ModelUnavailable,
    PromptTooLong,
    ReplyMalformed,
    RequestRefused,
)
from actors.model.protocol import ToolSpec
from actors.roles import load_role, system_prompt
from actors.tools.base import ToolContext, ToolResult, WorldTool
from actors.tools.crew import CREW_TOOLS, CrewContext, Outcome
from actors.tools.world import WORLD_TOOL_NAMES, world_tools
from store import crew, history, inbox, incidents, journal, tasks
from store.engine import Transaction
from store.errors import IllegalTransition, MailboxFull, NotFound
from store.history import Entry
from store.inbox import Row
from store.journal import Intent
from store.states import Activity, EntryKind, IntentState, Role, TaskState

TOOL_MARGIN_S = 60.0
MODEL_MARGIN_S = 60.0


class Steps:
    """One agent's ways to act. Every method that changes anything commits it before it returns."""

    def __init__(self, runtime: Runtime, memory: Memory, row: dict[str, Any]) -> None:
        """`row` is the agent's, as loaded at its start."""
        self.runtime = runtime
        self.memory = memory
        self.role = Role(row["role"])
        self.project: str | None = row["project"]
        self.task: int | None = row["task"]
        self.role_file = load_role(self.role.value, runtime.home.roles)
        self.world: dict[str, WorldTool] = {
            tool.spec.name: tool
            for tool in world_tools([name for name in self.role_file.tools if name in WORLD_TOOL_NAMES])
        }
        self.specs: list[ToolSpec] = [
            self.world[name].spec if name in self.world else CREW_TOOLS[name].spec
            for name in self.role_file.tools
        ]
        self.bench = Workbench(runtime, self._show)
        self.asker = Asker(runtime, runtime.config.model.options(self.role))
        self.view_is_open = False
        self.ended = False
        self._outage_noted = False

    def system_text(self) -> str:
        """The role's prompt; equal for every context of this agent."""
        return system_prompt(self.role_file, self.runtime.name, self.project)

    def _show(self, text: str) -> None:
        """A command's output, live; the committed result is what stays."""

    # -- commits -------------------------------------------------------------------------------

    def write(self, effects: Callable[[Transaction], list[Entry]]) -> list[Entry]:
        """Commit, then remember what was committed."""
        with self.runtime.store.write(self.runtime.fence) as tx:
            entries = effects(tx)
            if entries:
                history.touch(tx, self.runtime.name, now=self.runtime.clock())
        self.memory.add(entries)
        return entries

    def append(self, tx: Transaction, kind: EntryKind, body: dict[str, Any]) -> Entry:
        now = self.runtime.clock()
        return history.append(tx, self.runtime.fence, kind, body, now=now, task=self.task)

    def set_activity(self, tx: Transaction, activity: Activity, patience_s: float | None = None) -> None:
        """What the agent does from this commit on, and by when it must have made progress."""
        limits = self.runtime.config.model.limits
        now = self.runtime.clock()
        if activity is Activity.MODEL:
            patience_s = limits.total_s + limits.connect_s + MODEL_MARGIN_S
        crew.change_agent(
            tx,
            self.runtime.name,
            activity=activity.value,
            activity_since=now,
            deadline_at=None if patience_s is None else now + patience_s,
        )

    def nudge(self, text: str, reason: str) -> None:
        """What code says to the model."""
        log.info("nudged", actor=self.runtime.name, reason=reason)
        self.write(lambda tx: [self.append(tx, EntryKind.NUDGE, {"text": text, "reason": reason})])

    def skip_calls(self, tx: Transaction, text: str) -> list[Entry]:
        """Answer every call that waits with `text`; inside the caller's transaction."""
        entries: list[Entry] = []
        reply = last_reply(self.memory.entries)
        if reply is None:
            return entries
        while (call := unanswered(reply, [*self.memory.entries, *entries])) is not None:
            entries.append(self._result_entry(tx, call, text, ok=False))
        return entries

    def _result_entry(
        self, tx: Transaction, call: RunTool, text: str, *, ok: bool, settled: bool = False
    ) -> Entry:
        body = {
            "reply": call.reply,
            "position": call.position,
            "tool": call.name,
            "text": text,
            "ok": ok,
            "settled": settled,
        }
        return self.append(tx, EntryKind.TOOL_RESULT, body)

    def end_turn(self, turn: Row, text: str, effects: Effects, *, note: str | None = None) -> None:
        """Acknowledge the turn's message, with its answer and every last effect, in one transaction."""

        def ending(tx: Transaction) -> list[Entry]:
            effects(tx)
            entries = self.skip_calls(tx, "not run: the turn has ended")
            if note is not None:
                entries.append(self.append(tx, EntryKind.NOTE, {"text": note}))
            self._finish(tx, turn, text)
            return entries

        self.write(ending)

    def _finish(self, tx: Transaction, turn: Row, text: str) -> None:
        now = self.runtime.clock()
        inbox.acknowledge(tx, turn.id, now=now)
        self.set_activity(tx, Activity.IDLE)
        if turn.sender == HUMAN and turn.kind == "text":
            self._answer(tx, turn.id, text or "(done, without a word)")
        if self.task is not None and duties.asked_for_help(self.memory.entries):
            duties.waiting_effects(self.runtime, self.task)(tx)

    def _answer(self, tx: Transaction, message: int, text: str) -> None:
        mailbox.post(
            tx,
            self.runtime.name,
            HUMAN,
            Text(text=text),
            now=self.runtime.clock(),
            key=f"answer:{self.runtime.name}:{message}",
            in_reply_to=message,
        )

    # -- the model -----------------------------------------------------------------------------

    def ask_model(self, turn: Row, may_end: Callable[[Row], bool]) -> str | None:
        """One question, its reply committed; a last word that may end the turn ends it in the same
        transaction (`ended`). Returns why the turn is stuck, None if it is not."""
        if self.compact():
            return None
        try:
            body = self.asker.ask(context.prompt(self.memory.entries), self.specs, self._rung())
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
        self._commit_reply(turn, body, may_end)
        return None

    def _commit_reply(self, turn: Row, body: dict[str, Any], may_end: Callable[[Row], bool]) -> None:
        last = not body["calls"] and not body["problems"] and may_end(turn)

        def reply(tx: Transaction) -> list[Entry]:
            entry = self.append(tx, EntryKind.REPLY, body)
            self._count(tx, body["cost"])
            for message in self._unanswered_people(turn) if body["text"] else ():
                self._answer(tx, message, body["text"])
            if last:
                self._finish(tx, turn, body["text"])
            elif self._outage_noted:
                self.set_activity(tx, Activity.MODEL)
            return [entry]

        self.write(reply)
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
            self.set_activity(tx, Activity.WAITING)
            incidents.record(
                tx,
                "model_unavailable",
                now=self.runtime.clock(),
                agent=self.runtime.name,
                project=self.project,
                needs_human=isinstance(error, RequestRefused),
                reason=str(error),
            )

    # -- the window ----------------------------------------------------------------------------

    def compact(self, *, force: bool = False) -> bool:
        """Keep the prompt well inside the window; True if the context was changed (then look again)."""
        options = self.asker.options
        room = options.context_window - options.max_tokens
        tools_characters = sum(len(str(spec.as_json())) for spec in self.specs)
        used = context.tokens(self.memory.entries, tools_characters) / room
        mask_to = context.next_mask(self.memory.entries)
        if mask_to is not None and (force or used >= context.MASK_AT):
            log.info("context_masked", actor=self.runtime.name, used=round(used, 2))
            now = self.runtime.clock()
            self.write(lambda tx: self.memory.mask(tx, mask_to, now=now))
            return True
        keep_from = context.next_keep(self.memory.entries)
        if keep_from is not None and (force or used >= context.SUMMARISE_AT):
            log.info("context_summarised", actor=self.runtime.name, used=round(used, 2))
            text = written_summary(self.memory.entries, keep_from)
            now = self.runtime.clock()
            self.write(lambda tx: self.memory.summarise(tx, text, keep_from, now=now))
            return True
        return False

    # -- budgets and the ladder ----------------------------------------------------------------

    def _usage(self) -> dict[str, Any]:
        return {} if self.task is None else dict(tasks.get(self.runtime.store, self.task)["usage"])

    def _rung(self) -> int:
        return int(self._usage().get("rung", 0))

    def _count(self, tx: Transaction, cost: dict[str, Any]) -> None:
        if self.task is None:
            return
        usage = dict(tasks.current(tx, self.task)["usage"])
        usage["steps"] = usage.get("steps", 0) + 1
        for name in ("prompt_tokens", "cached_tokens", "generated_tokens", "total_ms"):
            usage[name] = usage.get(name, 0) + (cost.get(name) or 0)
        tasks.amend(tx, self.task, now=self.runtime.clock(), usage=usage)

    def spent_budget(self) -> str | None:
        """Which budget the task has used up on this rung, if any."""
        if self.task is None:
            return None
        budgets = self.runtime.config.budgets
        row = tasks.get(self.runtime.store, self.task)
        usage, since = row["usage"], row["usage"].get("at_rung", {})
        steps = usage.get("steps", 0) - since.get("steps", 0)
        generated = usage.get("generated_tokens", 0) - since.get("generated_tokens", 0)
        minutes = (self.runtime.clock() - since.get("at", row["started_at"] or self.runtime.clock())) / 60
        if steps >= budgets.steps_per_task:
            return f"it used up its {budgets.steps_per_task} steps"
        if generated >= budgets.tokens_per_task:
            return f"it used up its {budgets.tokens_per_task} tokens"
        if minutes >= budgets.minutes_per_task:
            return f"it used up its {budgets.minutes_per_task:g} minutes"
        return None

    def keep_work(self, message: str) -> None:
        """Commit what lies in the worktree, whatever its state: work is never thrown away."""
        if self.task is not None and self.bench.worktree is None:
            self._open_bench()
        if self.bench.worktree is not None:
            workspace.commit_all(self.bench.worktree, message, locks=self.runtime.home.locks)

    def climb(self, turn: Row, reason: str) -> bool:
        """The next rung for a stuck task; True if the turn is over."""
        assert self.task is not None
        task = tasks.get(self.runtime.store, self.task)
        rung = next_rung(self._rung(), others=self._others())
        log.warning("ladder_climbed", actor=self.runtime.name, task=self.task, rung=rung.name, reason=reason)
        self.keep_work(f"Work until it got stuck: {reason}")
        usage = {**task["usage"], "rung": int(rung), "at_rung": self._account(task)}
        if rung in (Rung.FRESH_CONTEXT, Rung.OTHER_SAMPLING):
            self._begin_again(task, usage, rung, reason)
            return False

        def leave(tx: Transaction) -> None:
            now = self.runtime.clock()
            tasks.amend(tx, task["id"], now=now, usage=usage, feedback=reason)
            self._record_rung(tx, rung, reason)
            if rung is Rung.OTHER_AGENT:
                work.replan(tx, task, reason=reason, by=self.runtime.name, now=now)
            else:
                work.park(tx, task, reason=reason, by=self.runtime.name, now=now)

        self.end_turn(turn, "", leave, note=f"gave the task up: {reason}")
        if rung is Rung.OTHER_AGENT:
            project = crew.project(self.runtime.store, task["project"])
            self.bench.close_task(project, task)
        self.task = None
        return True

    def _account(self, task: dict[str, Any]) -> dict[str, Any]:
        usage = task["usage"]
        return {
            "steps": usage.get("steps", 0),
            "generated_tokens": usage.get("generated_tokens", 0),
            "at": self.runtime.clock(),
        }

    def _others(self) -> bool:
        if self.project is None:
            return False
        project = crew.project(self.runtime.store, self.project)
        team = [
            row
            for row in crew.all_agents(self.runtime.store, project=self.project)
            if row["role"] == self.role.value
        ]
        return len(team) > 1 or len(team) < project["engineers"]

    def _begin_again(self, task: dict[str, Any], usage: dict[str, Any], rung: Rung, reason: str) -> None:
        text = (
            f"{briefing.task_text(self.runtime, task)}\n\nAn earlier try got stuck: {reason}. "
            "Its changes are still in your folder (`git log`, `git diff`). Go another way this time."
        )

        def fresh(tx: Transaction) -> list[Entry]:
            now = self.runtime.clock()
            tasks.amend(tx, task["id"], now=now, usage=usage)
            self._record_rung(tx, rung, reason)
            entries = self.memory.begin(tx, self.system_text(), now=now, task=task["id"])
            body = {"sender": "crew", "kind": "task_assigned", "text": text}
            entries.append(self.append(tx, EntryKind.MESSAGE, body))
            self.set_activity(tx, Activity.MODEL)
            return entries

        self.write(fresh)

    def _record_rung(self, tx: Transaction, rung: Rung, reason: str) -> None:
        incidents.record(
            tx,
            "ladder_climbed",
            now=self.runtime.clock(),
            agent=self.runtime.name,
            project=self.project,
            task=self.task,
            rung=rung.name.lower(),
            reason=reason,
        )

    # -- tools ---------------------------------------------------------------------------------

    def run_tool(self, turn: Row, call: RunTool) -> bool:
        """Run one call and commit its result; True if it ended the turn."""
        if call.name in self.world:
            self._run_world_tool(call, self.world[call.name])
            self._commit_if_due()
            return False
        return self._run_crew_tool(turn, call)

    def _run_crew_tool(self, turn: Row, call: RunTool) -> bool:
        if self.task is not None and self.bench.worktree is None:
            self._open_bench()
        call_id = f"{call.reply}-{call.position}"
        crew_context = CrewContext(self.runtime, self.project, self.task, self.bench.worktree, call_id)
        outcome = CREW_TOOLS[call.name].run(crew_context, call.arguments)
        try:
            self._commit_outcome(turn, call, outcome)
        except (IllegalTransition, NotFound, MailboxFull) as error:
            # The world moved on between the look and the commit; nothing of it was written.
            outcome = Outcome(str(error), ok=False)
            self._commit_outcome(turn, call, outcome)
        return outcome.ends_turn

    def _commit_outcome(self, turn: Row, call: RunTool, outcome: Outcome) -> None:
        def effects(tx: Transaction) -> list[Entry]:
            outcome.effects(tx)
            entries = [self._result_entry(tx, call, outcome.text, ok=outcome.ok)]
            if outcome.ends_turn:
                reply = last_reply(self.memory.entries)
                while reply is not None:
                    rest = unanswered(reply, [*self.memory.entries, *entries])
                    if rest is None:
                        break
                    entries.append(self._result_entry(tx, rest, "not run: the turn has ended", ok=False))
                self._finish(tx, turn, outcome.text)
            return entries

        self.write(effects)

    def _run_world_tool(self, call: RunTool, tool: WorldTool) -> None:
        """Intent committed, run, outcome committed; after a crash settled from evidence instead."""
        tool_context = self._tool_context(call)
        intent = journal.find(self.runtime.store, self.runtime.name, call.reply, call.position)
        result = None
        if intent is not None:
            result = tool.settle(call.arguments, intent.evidence, tool_context)
        settled = result is not None
        if result is None:
            intent = self._intend(call, tool, tool_context, intent)
            result = tool.run(call.arguments, tool_context)
        assert intent is not None
        self._commit_result(call, intent, result, settled=settled)

    def _intend(
        self, call: RunTool, tool: WorldTool, tool_context: ToolContext, earlier: Intent | None
    ) -> Intent:
        evidence = tool.intend(call.arguments, tool_context)
        patience_s = self._tool_patience_s(call)
        with self.runtime.store.write(self.runtime.fence) as tx:
            self.set_activity(tx, Activity.TOOL, patience_s)
            if earlier is not None:
                journal.renew(tx, self.runtime.fence, earlier.id, evidence)
                return earlier
            intent_id = journal.intend(
                tx,
                self.runtime.fence,
                reply=call.reply,
                position=call.position,
                tool=call.name,
                arguments=call.arguments,
                evidence=evidence,
                now=self.runtime.clock(),
            )
        return Intent(
            intent_id,
            call.reply,
            call.position,
            call.name,
            call.arguments,
            evidence,
            IntentState.INTENDED,
            self.runtime.generation,
        )

    def _commit_result(self, call: RunTool, intent: Intent, result: ToolResult, *, settled: bool) -> None:
        unknown = settled and result.evidence.get("outcome") == "unknown"

        def effects(tx: Transaction) -> list[Entry]:
            state = IntentState.UNKNOWN if unknown else IntentState.DONE
            journal.end(tx, intent.id, state, now=self.runtime.clock())
            self.set_activity(tx, Activity.MODEL)
            return [self._result_entry(tx, call, result.text, ok=result.ok, settled=settled)]

        self.write(effects)

    def _tool_patience_s(self, call: RunTool) -> float:
        asked = call.arguments.get("timeout_s")
        default = self.runtime.config.work.shell_timeout_s
        return (float(asked) if isinstance(asked, int | float) else default) + TOOL_MARGIN_S

    def _tool_context(self, call: RunTool) -> ToolContext:
        if self.task is not None:
            if self.bench.folder is None:
                self._open_bench()
        elif not self.view_is_open:
            self._open_view()
        return self.bench.tool_context(
            f"{call.reply}-{call.position}", writable=self.role_file.can_write and self.task is not None
        )

    def _open_bench(self) -> None:
        task = tasks.get(self.runtime.store, self.task or 0)
        self.bench.open_task(crew.project(self.runtime.store, task["project"]), task)

    def _open_view(self) -> None:
        """For who has no task: the integration branch, or for QA the candidate, to look at."""
        if self.project is None:
            raise LookupError(f"{self.runtime.name} has no project and so no files")
        project = crew.project(self.runtime.store, self.project)
        candidate = None
        if self.role is Role.QA:
            rows = tasks.of_project(self.runtime.store, self.project)
            checking = [row for row in rows if row["state"] == TaskState.CHECKING and row["candidate_commit"]]
            asked = [e for e in self.memory.entries if e.kind is EntryKind.MESSAGE]
            numbers = {self._task_of_message(entry) for entry in asked[-1:]}
            found = [row["candidate_commit"] for row in checking if row["id"] in numbers]
            candidate = (found or [row["candidate_commit"] for row in checking] or [None])[0]
        self.bench.open_view(project, candidate, self.runtime.name.split(".")[0])
        self.view_is_open = True

    def _task_of_message(self, entry: Entry) -> int | None:
        row = inbox.get(self.runtime.store, entry.message) if entry.message else None
        return None if row is None else row["body"].get("task")

    def _commit_if_due(self) -> None:
        commit = self.bench.commit_if_due()
        if commit is not None:
            log.info("work_committed", actor=self.runtime.name, task=self.task, commit=commit)


__all__ = ["Steps", "nothing"]
