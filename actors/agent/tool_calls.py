"""Running a call: crew tools commit with their result, world tools by intent and outcome."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from actors import log
from actors.agent.state import COMMIT_PATIENCE_S, Desk
from actors.agent.turn import RunTool, next_call
from actors.runtime.messages import review_request
from actors.tools.base import ToolContext, ToolLimits, ToolResult, WorktreeTool
from actors.tools.crew_tool import CrewContext, CrewToolResult
from actors.tools.registry import CREW_TOOLS
from store import crew, journal
from store.engine import Transaction
from store.entries import Entry, ReplyBody
from store.errors import IllegalTransition, MailboxFull, NotFound
from store.failpoints import failpoint
from store.rows import Intent, Message
from store.states import Activity, IntentState, Role

TOOL_MARGIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Due:
    """A call that is to be run next: what its intent says, and how long it may take."""

    position: int
    name: str
    arguments: dict[str, Any]
    evidence: dict[str, Any]
    patience_s: float


class Tooling:
    """The part of an agent that uses its tools."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.runtime = desk.runtime

    def run_tool(self, turn: Message, call: RunTool) -> bool:
        """Run one call and commit its result; True if it ended the turn."""
        if call.name in self.desk.world:
            self._run_world_tool(turn, call, self.desk.world[call.name])
            self._commit_if_due()
            return False
        return self._run_crew_tool(turn, call)

    def _run_crew_tool(self, turn: Message, call: RunTool) -> bool:
        if self.desk.task is not None and self.desk.bench.worktree is None:
            self.desk.open_bench()
        if call.name == "submit_task":
            self.desk.expect(Activity.COMMIT, COMMIT_PATIENCE_S, at_least_s=COMMIT_PATIENCE_S)
        call_id = f"{call.reply}-{call.position}"
        crew_context = CrewContext(
            self.runtime, self.desk.project, self.desk.task, self.desk.bench.worktree, call_id, turn
        )
        outcome = CREW_TOOLS[call.name].run(crew_context, call.arguments)
        failpoint("crew_tool_decided")
        try:
            self._commit_outcome(turn, call, outcome)
        except (IllegalTransition, NotFound, MailboxFull) as error:
            # The world moved on between the look and the commit; nothing of it was written.
            outcome = CrewToolResult(str(error), ok=False)
            self._commit_outcome(turn, call, outcome)
        return outcome.ends_turn

    def _commit_outcome(self, turn: Message, call: RunTool, outcome: CrewToolResult) -> None:
        def effects(tx: Transaction) -> list[Entry]:
            outcome.effects(tx)
            entries = [self.desk.result_entry(tx, call, outcome.text, ok=outcome.ok)]
            if outcome.ends_turn:
                while (rest := next_call([*self.desk.memory.entries, *entries])) is not None:
                    entries.append(self.desk.result_entry(tx, rest, "not run: the turn has ended", ok=False))
                self.desk.finish(tx, turn, outcome.text, may_wait=False)
            return entries

        self.desk.write(effects)

    def due(self, turn: Message, reply: ReplyBody) -> Due | None:
        """The intent of a reply's first call, to be committed with the reply: nothing happens between them.

        None if that call is of no world tool, or its folder or sandbox is not ready: making them is an act of
        its own, for which no transaction waits and no reply may be lost.
        """
        tool = self.desk.world.get(reply.calls[0].name) if reply.calls else None
        if tool is None or not self.desk.bench.is_ready or not self._has_folder():
            return None
        arguments = reply.calls[0].arguments
        try:
            evidence = tool.intend(arguments, self._tool_context(turn, ""))
        except OSError:
            return None  # it is told by the call's own step, which can be tried again
        return Due(0, tool.spec.name, arguments, evidence, self._tool_patience_s(arguments))

    def intend(self, tx: Transaction, due: Due, reply: int) -> Intent:
        """Write the intent down, with what the tool found before."""
        return journal.intend(
            tx,
            self.runtime.fence,
            reply=reply,
            position=due.position,
            tool=due.name,
            arguments=due.arguments,
            evidence=due.evidence,
            now=self.runtime.clock(),
        )

    def _run_world_tool(self, turn: Message, call: RunTool, tool: WorktreeTool) -> None:
        """Intent committed, run, outcome committed; after a crash settled from evidence instead."""
        tool_context = self._tool_context(turn, f"{call.reply}-{call.position}")
        intent = self._take_unbegun(call)
        result = None
        if intent is None:
            intent = journal.find(self.runtime.store, self.runtime.name, call.reply, call.position)
            if intent is not None:
                result = tool.settle(call.arguments, intent.evidence, tool_context)
            if result is None:
                intent = self._intend_now(call, tool, tool_context, intent)
        elif self.desk.activity is not Activity.TOOL:
            # Something made it wait, a pause or a full disk: neither its evidence nor its deadline holds.
            intent = self._intend_now(call, tool, tool_context, intent)
        settled = result is not None
        if result is None:
            failpoint("intent_written")
            began = time.monotonic()
            result = tool.run(call.arguments, tool_context)
            self.desk.active_s += time.monotonic() - began
            failpoint("tool_ended")
        assert intent is not None
        self._commit_result(call, intent, result, settled=settled)

    def _take_unbegun(self, call: RunTool) -> Intent | None:
        """The call's intent if this incarnation committed it with the reply, and so knows that it did not run."""
        intent, self.desk.unbegun = self.desk.unbegun, None
        is_this = intent is not None and (intent.reply, intent.position) == (call.reply, call.position)
        return intent if is_this else None

    def _intend_now(
        self, call: RunTool, tool: WorktreeTool, tool_context: ToolContext, earlier: Intent | None
    ) -> Intent:
        evidence = tool.intend(call.arguments, tool_context)
        patience_s = self._tool_patience_s(call.arguments)
        with self.runtime.store.write(self.runtime.fence) as tx:
            self.desk.set_activity(tx, Activity.TOOL, patience_s)
            if earlier is not None:
                journal.renew(tx, self.runtime.fence, earlier.id, evidence)
                return earlier
            due = Due(call.position, call.name, call.arguments, evidence, patience_s)
            return self.intend(tx, due, call.reply)

    def _commit_result(self, call: RunTool, intent: Intent, result: ToolResult, *, settled: bool) -> None:
        unknown = settled and result.outcome_unknown

        def effects(tx: Transaction) -> list[Entry]:
            state = IntentState.UNKNOWN if unknown else IntentState.DONE
            journal.end(tx, intent.id, state, now=self.runtime.clock())
            return [self.desk.result_entry(tx, call, result.text, ok=result.ok, settled=settled)]

        self.desk.write(effects, Activity.MODEL)
        failpoint("outcome_written")

    def _tool_patience_s(self, arguments: dict[str, Any]) -> float:
        """The tool's own limit, as it cuts it, and a margin."""
        asked = arguments.get("timeout_s")
        default = self.runtime.config.work.shell_timeout_s
        seconds = float(asked) if isinstance(asked, int | float) else default
        return max(1.0, min(seconds, ToolLimits().max_timeout_s)) + TOOL_MARGIN_S

    def _has_folder(self) -> bool:
        if self.desk.task is not None:
            return self.desk.bench.folder is not None
        return self.desk.view_is_open

    def _tool_context(self, turn: Message, call_id: str) -> ToolContext:
        if not self._has_folder():
            if self.desk.task is not None:
                self.desk.open_bench()
            else:
                self._open_view(turn)
        return self.desk.bench.tool_context(call_id, writable=self._may_write())

    def _may_write(self) -> bool:
        # QA's folder is a throwaway copy: tests may leave files in it.
        return self.desk.role_file.can_write and (self.desk.task is not None or self.desk.role is Role.QA)

    def _open_view(self, turn: Message) -> None:
        """For who has no task: the integration branch, or for QA the candidate, to look at."""
        if self.desk.project is None:
            raise LookupError(f"{self.runtime.name} has no project and so no files")
        project = crew.project(self.runtime.store, self.desk.project)
        request = review_request(turn)
        self.desk.bench.open_view(
            project, None if request is None else request.candidate, self.desk.view_name
        )
        self.desk.view_is_open = True

    def _commit_if_due(self) -> None:
        commit = self.desk.bench.commit_if_due()
        if commit is not None:
            log.info("work_committed", actor=self.runtime.name, task=self.desk.task, commit=commit)
