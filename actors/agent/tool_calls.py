"""Runs one tool call and commits its result.

A crew tool's effects commit together with its result. A worktree tool's intent is committed before it runs and
its outcome afterwards; after a crash in between, the outcome is found out from the intent's evidence.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from actors import log
from actors.agent.state import COMMIT_PATIENCE_S, WorkingState
from actors.agent.turn import Continue, Ended, RunTool, next_call
from actors.tools.base import ToolContext, ToolLimits, ToolResult, WorktreeTool
from actors.tools.crew_tool import CrewContext, CrewToolResult
from actors.tools.registry import CREW_TOOLS
from store import crew, journal
from store.engine import Transaction
from store.entries import Entry, ReplyBody, ToolResultBody
from store.errors import IllegalTransition, MailboxFull, NotFound
from store.failpoints import failpoint
from store.rows import Intent, Message
from store.states import Activity, IntentState, Role

TOOL_MARGIN_S = 60.0
TURN_ENDED = "not run: the turn has ended"
OUTCOME_UNKNOWN = (
    "Outcome unknown: it had begun when the crew was interrupted. Check what is there before you repeat it."
)


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A worktree tool's call that is to run next: what its intent says, and how long it may take."""

    position: int
    tool: str
    arguments: dict[str, Any]
    evidence: dict[str, Any]
    patience_s: float


class ToolCalls:
    """The part of an agent that uses its tools."""

    def __init__(self, state: WorkingState) -> None:
        self._state = state
        self._runtime = state.runtime
        self._not_started: Intent | None = None

    def run(self, turn: Message, call: RunTool) -> Continue | Ended:
        """Run one call and commit its result."""
        tool = self._state.worktree_tools.get(call.name)
        if tool is None:
            return self._run_crew_tool(turn, call)
        self._run_worktree_tool(turn, call, tool)
        commit = self._state.workspace.commit_if_due()
        if commit is not None:
            log.info("work_committed", actor=self._runtime.name, task=self._state.task, commit=commit)
        return Continue()

    def skip_all(self, tx: Transaction, text: str) -> list[Entry]:
        """Answer every call of the newest reply that has no result with `text`, in the caller's transaction.

        A call that an earlier process may have started is answered as unknown instead.
        """
        entries: list[Entry] = []
        while (call := next_call([*self._state.memory.entries, *entries])) is not None:
            entries.append(self._skip(tx, call, text))
        return entries

    def _skip(self, tx: Transaction, call: RunTool, text: str) -> Entry:
        intent = journal.find(self._runtime.store, self._runtime.name, call.reply, call.position)
        if intent is None or intent.state is not IntentState.INTENDED:
            return self._append_result(tx, call, text, ok=False)
        if self._not_started is not None and intent.id == self._not_started.id:
            journal.end(tx, intent.id, IntentState.DONE, now=self._runtime.clock())
            return self._append_result(tx, call, text, ok=False)
        journal.end(tx, intent.id, IntentState.UNKNOWN, now=self._runtime.clock())
        return self._append_result(tx, call, OUTCOME_UNKNOWN, ok=False, settled=True)

    def _append_result(
        self, tx: Transaction, call: RunTool, text: str, *, ok: bool, settled: bool = False
    ) -> Entry:
        return self._state.append(tx, ToolResultBody(call.reply, call.position, call.name, text, ok, settled))

    # -- crew tools ----------------------------------------------------------------------------

    def _run_crew_tool(self, turn: Message, call: RunTool) -> Continue | Ended:
        state = self._state
        worktree = None if state.task is None else state.workspace.worktree_of(state.task)
        if call.name == "submit_task":
            state.expect(Activity.COMMIT, COMMIT_PATIENCE_S, at_least_s=COMMIT_PATIENCE_S)
        call_id = f"{call.reply}-{call.position}"
        context = CrewContext(self._runtime, state.project, state.task, worktree, call_id, turn)
        result = CREW_TOOLS[call.name].run(context, call.arguments)
        failpoint("crew_tool_decided")
        try:
            self._commit_crew_result(turn, call, result)
        except (IllegalTransition, NotFound, MailboxFull) as error:
            # The store has changed since the tool read it. Nothing of the result was written.
            result = CrewToolResult(str(error), ok=False)
            self._commit_crew_result(turn, call, result)
        return Ended() if result.ends_turn else Continue()

    def _commit_crew_result(self, turn: Message, call: RunTool, result: CrewToolResult) -> None:
        def effects(tx: Transaction) -> list[Entry]:
            result.effects(tx)
            entries = [self._append_result(tx, call, result.text, ok=result.ok)]
            if result.ends_turn:
                while (rest := next_call([*self._state.memory.entries, *entries])) is not None:
                    entries.append(self._append_result(tx, rest, TURN_ENDED, ok=False))
                self._state.finish(tx, turn, result.text, may_wait=False)
            return entries

        self._state.write(effects)

    # -- worktree tools ------------------------------------------------------------------------

    def plan_first(self, turn: Message, reply: ReplyBody) -> PlannedCall | None:
        """The first call of a reply, if its intent can be committed together with the reply.

        None if it is of no worktree tool, or if the folder or the sandbox is not ready. Preparing them takes
        long and may fail, and the reply must be committed before that.
        """
        tool = self._state.worktree_tools.get(reply.calls[0].name) if reply.calls else None
        if tool is None or not self._state.workspace.is_ready(self._state.task):
            return None
        arguments = reply.calls[0].arguments
        try:
            evidence = tool.intend(arguments, self._tool_context(turn, ""))
        except OSError:
            return None  # raised again by the step that runs the call, and that step can be retried
        return PlannedCall(0, tool.spec.name, arguments, evidence, self._patience_s(arguments))

    def record_intent(self, tx: Transaction, planned: PlannedCall, reply: int) -> Intent:
        """Record the intent of a planned call of the history row `reply`."""
        return journal.intend(
            tx,
            self._runtime.fence,
            reply=reply,
            position=planned.position,
            tool=planned.tool,
            arguments=planned.arguments,
            evidence=planned.evidence,
            now=self._runtime.clock(),
        )

    def carry(self, intent: Intent | None) -> None:
        """Remember the intent that was committed with the newest reply: this process knows it did not start."""
        self._not_started = intent

    def _run_worktree_tool(self, turn: Message, call: RunTool, tool: WorktreeTool) -> None:
        context = self._tool_context(turn, f"{call.reply}-{call.position}")
        intent = self._take_carried(call)
        result = None
        if intent is None:
            intent = journal.find(self._runtime.store, self._runtime.name, call.reply, call.position)
            if intent is not None:
                result = tool.settle(call.arguments, intent.evidence, context)
            if result is None:
                intent = self._intend_now(call, tool, context, intent)
        elif self._state.activity is not Activity.TOOL:
            # A pause or a full disk came in between: the evidence and the deadline are out of date.
            intent = self._intend_now(call, tool, context, intent)
        settled = result is not None
        if result is None:
            result = self._run_timed(call, tool, context)
        assert intent is not None
        self._commit_result(call, intent, result, settled=settled)

    def _run_timed(self, call: RunTool, tool: WorktreeTool, context: ToolContext) -> ToolResult:
        failpoint("intent_written")
        began = time.monotonic()
        result = tool.run(call.arguments, context)
        self._state.budget.add_work(time.monotonic() - began)
        failpoint("tool_ended")
        return result

    def _take_carried(self, call: RunTool) -> Intent | None:
        """The call's intent, if this process committed it with the reply and has not started the call."""
        intent, self._not_started = self._not_started, None
        is_this = intent is not None and (intent.reply, intent.position) == (call.reply, call.position)
        return intent if is_this else None

    def _intend_now(
        self, call: RunTool, tool: WorktreeTool, context: ToolContext, earlier: Intent | None
    ) -> Intent:
        """Commit the intent, or renew an earlier one, with what the tool finds now."""
        evidence = tool.intend(call.arguments, context)
        patience_s = self._patience_s(call.arguments)
        with self._runtime.store.write(self._runtime.fence) as tx:
            self._state.set_activity(tx, Activity.TOOL, patience_s)
            if earlier is not None:
                journal.renew(tx, self._runtime.fence, earlier.id, evidence)
                return earlier
            planned = PlannedCall(call.position, call.name, call.arguments, evidence, patience_s)
            return self.record_intent(tx, planned, call.reply)

    def _commit_result(self, call: RunTool, intent: Intent, result: ToolResult, *, settled: bool) -> None:
        unknown = settled and result.outcome_unknown

        def effects(tx: Transaction) -> list[Entry]:
            ended = IntentState.UNKNOWN if unknown else IntentState.DONE
            journal.end(tx, intent.id, ended, now=self._runtime.clock())
            return [self._append_result(tx, call, result.text, ok=result.ok, settled=settled)]

        self._state.write(effects, Activity.MODEL)
        failpoint("outcome_written")

    def _patience_s(self, arguments: dict[str, Any]) -> float:
        """The time limit of a call, as the tool bounds it, with a margin."""
        asked = arguments.get("timeout_s")
        default = self._runtime.config.work.shell_timeout_s
        seconds = float(asked) if isinstance(asked, int | float) else default
        return max(1.0, min(seconds, ToolLimits().max_timeout_s)) + TOOL_MARGIN_S

    def _tool_context(self, turn: Message, call_id: str) -> ToolContext:
        """The surroundings of a call. Opens the task's worktree, or a view if there is no task."""
        state = self._state
        if state.task is not None:
            state.workspace.worktree_of(state.task)
        else:
            self._open_view(turn)
        # The tester's folder is thrown away afterwards, so tests may write into it.
        writable = state.role_file.can_write and (state.task is not None or state.role is Role.QA)
        return state.workspace.tool_context(state.task, call_id, writable=writable)

    def _open_view(self, turn: Message) -> None:
        """Open the merge that QA is asked to test, or else the integration branch."""
        workspace = self._state.workspace
        if workspace.has_view:
            return
        if self._state.project is None:
            raise LookupError(f"{self._runtime.name} has no project and so no files")
        candidate = turn.body["candidate"] if turn.kind == "review_requested" else None
        workspace.open_view(crew.project(self._runtime.store, self._state.project), candidate)
