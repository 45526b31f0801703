"""An agent's desk: who it is, its memory, its tools and workbench, and how a step is committed."""

from __future__ import annotations

from collections.abc import Callable

from actors import log
from actors.agent import duties
from actors.agent.memory import Memory
from actors.agent.turn import RunTool, next_call
from actors.agent.workspace import Workbench
from actors.model.protocol import ToolSpec
from actors.roles import load_role, system_prompt
from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN
from actors.runtime.context import Effects, Runtime
from actors.runtime.messages import Text
from actors.tools.base import WorktreeTool
from actors.tools.registry import CREW_TOOLS, WORKTREE_TOOL_NAMES, worktree_tools
from actors.work import assignment
from store import crew, history, inbox, journal, tasks
from store.crew import AgentChange
from store.engine import Transaction
from store.entries import Body, Entry, NoteBody, NudgeBody, ToolResultBody
from store.rows import Agent as AgentRow
from store.rows import Intent, Message, Usage
from store.states import Activity, IntentState, Role

MODEL_MARGIN_S = 60.0
BEGUN = (
    "Outcome unknown: it had begun when the crew was interrupted. Look at what is there before you repeat it."
)
COMMIT_PATIENCE_S = 600.0  # several git commands, each with a limit of its own


class Desk:
    """Shared by the parts that act (`model_calls.py`, `tool_calls.py`, `recovery.py`); one thread uses it."""

    def __init__(self, runtime: Runtime, memory: Memory, row: AgentRow) -> None:
        """`row` is the agent's, as loaded at its start."""
        self.runtime = runtime
        self.memory = memory
        assert row.role is not None, f"{row.name} is no agent with a role"
        self.role = row.role
        self.project = row.project
        self._task = row.task
        self._usage: Usage | None = None
        self.unbegun: Intent | None = None  # committed with its reply; its tool has not been started
        self.role_file = load_role(self.role.value, runtime.home.roles)
        self.world: dict[str, WorktreeTool] = {
            tool.spec.name: tool
            for tool in worktree_tools([name for name in self.role_file.tools if name in WORKTREE_TOOL_NAMES])
        }
        self.specs: list[ToolSpec] = [
            self.world[name].spec if name in self.world else CREW_TOOLS[name].spec
            for name in self.role_file.tools
        ]
        self.tools_characters = sum(len(str(spec.as_json())) for spec in self.specs)
        self.bench = Workbench(runtime, _unseen)
        self.view_is_open = False
        self.activity = Activity.IDLE  # what was last committed of it, and until when
        self.deadline_at: float | None = None
        self.active_s = (
            0.0  # at work since the last reply was committed; what a task's minutes are counted by
        )

    def system_text(self) -> str:
        """The role's prompt; equal for every context of this agent."""
        facts = []
        if self.project is not None and self.role is not Role.PROJECT_MANAGER:
            facts.append(("manager", assignment.manager(self.project)))
        return system_prompt(self.role_file, self.runtime.name, self.project, facts)

    @property
    def view_name(self) -> str:
        """The folder of the copy to look at, for an agent without a task of its own."""
        return f"view-{self.runtime.name.split('.', maxsplit=1)[0]}"

    @property
    def task(self) -> int | None:
        """The task in hand."""
        return self._task

    @task.setter
    def task(self, task: int | None) -> None:
        self._task = task
        self._usage = None

    @property
    def usage(self) -> Usage:
        """What the task in hand has cost so far, and its rung on the ladder; empty without a task.

        Read once a turn: while the task is in hand nobody else writes it.
        """
        if self._task is None:
            return Usage()
        if self._usage is None:
            self._usage = tasks.get(self.runtime.store, self._task).usage
        return self._usage

    def count(self, tx: Transaction, usage: Usage) -> None:
        """Change what the task in hand has cost."""
        assert self._task is not None
        tasks.amend(tx, self._task, now=self.runtime.clock(), usage=usage)
        self._usage = usage

    def rung(self) -> int:
        """How far up the recovery ladder the task in hand is."""
        return self.usage.rung

    def open_bench(self) -> None:
        """The worktree of the task in hand."""
        task = tasks.get(self.runtime.store, self.task or 0)
        self.bench.open_task(crew.project(self.runtime.store, task.project), task)

    def write(
        self,
        effects: Callable[[Transaction], list[Entry]],
        activity: Activity | None = None,
        patience_s: float | None = None,
    ) -> list[Entry]:
        """Commit, with what the agent does next if it changes; then remember what was committed."""
        with self.runtime.store.write(self.runtime.fence) as tx:
            entries = effects(tx)
            if activity is not None:
                self.set_activity(tx, activity, patience_s, has_progressed=bool(entries))
            elif entries:
                history.touch(tx, self.runtime.name, now=self.runtime.clock())
        self.memory.add(entries)
        return entries

    def append(self, tx: Transaction, body: Body) -> Entry:
        """Add a row to the agent's history, about the task in hand."""
        return history.append(tx, self.runtime.fence, body, now=self.runtime.clock(), task=self.task)

    def set_activity(
        self,
        tx: Transaction,
        activity: Activity,
        patience_s: float | None = None,
        *,
        has_progressed: bool = False,
    ) -> None:
        """What the agent does from this commit on, and by when it must have made progress."""
        now = self.runtime.clock()
        if activity is Activity.MODEL:
            patience_s = self._model_s() + MODEL_MARGIN_S
        self.activity = activity
        self.deadline_at = None if patience_s is None else now + patience_s
        change: AgentChange = {
            "activity": activity,
            "activity_since": now,
            "deadline_at": self.deadline_at,
        }
        if has_progressed:
            change["last_progress_at"] = now
        crew.change_agent(tx, self.runtime.name, **change)

    def expect(self, activity: Activity, patience_s: float | None = None, *, at_least_s: float = 0.0) -> None:
        """Before something long: see that the committed deadline leaves `at_least_s` to it.

        Commits only if it does not: what came since the last commit (a malformed reply, a host that failed,
        a message in between) must not be taken from the time of what comes now.
        """
        if activity is Activity.MODEL:
            at_least_s = self._model_s()
        left_s = -1.0 if self.deadline_at is None else self.deadline_at - self.runtime.clock()
        if self.activity is activity and left_s >= at_least_s:
            return
        with self.runtime.store.write(self.runtime.fence) as tx:
            self.set_activity(tx, activity, patience_s)

    def _model_s(self) -> float:
        limits = self.runtime.config.model.limits
        return limits.total_s + limits.connect_s

    def nudge(self, text: str, reason: str) -> None:
        """Add a reminder or correction by code to the conversation."""
        log.info("nudged", actor=self.runtime.name, reason=reason)
        self.write(lambda tx: [self.append(tx, NudgeBody(text, reason))])

    def skip_calls(self, tx: Transaction, text: str) -> list[Entry]:
        """Answer every call that waits with `text`; inside the caller's transaction."""
        entries: list[Entry] = []
        while (call := next_call([*self.memory.entries, *entries])) is not None:
            intent = journal.find(self.runtime.store, self.runtime.name, call.reply, call.position)
            if intent is not None and self.unbegun is not None and intent.id == self.unbegun.id:
                journal.end(tx, intent.id, IntentState.DONE, now=self.runtime.clock())
                entries.append(self.result_entry(tx, call, text, ok=False))
            elif intent is not None and intent.state is IntentState.INTENDED:
                # Begun by an incarnation that was killed: what became of it must not be called "not run".
                journal.end(tx, intent.id, IntentState.UNKNOWN, now=self.runtime.clock())
                entries.append(self.result_entry(tx, call, BEGUN, ok=False, settled=True))
            else:
                entries.append(self.result_entry(tx, call, text, ok=False))
        return entries

    def result_entry(
        self, tx: Transaction, call: RunTool, text: str, *, ok: bool, settled: bool = False
    ) -> Entry:
        return self.append(tx, ToolResultBody(call.reply, call.position, call.name, text, ok, settled))

    def end_turn(self, turn: Message, text: str, effects: Effects, *, note: str | None = None) -> None:
        """Acknowledge the turn's message, with its answer and every last effect, in one transaction."""

        def ending(tx: Transaction) -> list[Entry]:
            effects(tx)
            entries = self.skip_calls(tx, "not run: the turn has ended")
            if note is not None:
                entries.append(self.append(tx, NoteBody(note)))
            self.finish(tx, turn, text)
            return entries

        self.write(ending)

    def finish(self, tx: Transaction, turn: Message, text: str, *, may_wait: bool = True) -> None:
        now = self.runtime.clock()
        inbox.acknowledge(tx, turn.id, now=now)
        self.set_activity(tx, Activity.IDLE)
        if turn.sender == HUMAN and turn.kind == "text":
            self.answer(tx, turn.id, text or "(done, without a word)")
        if may_wait and self.task is not None and duties.asked_for_help(self.memory.entries):
            duties.waiting_effects(self.runtime, self.task)(tx)

    def answer(self, tx: Transaction, message: int, text: str) -> None:
        mailbox.post(
            tx,
            self.runtime.name,
            HUMAN,
            Text(text=text),
            now=self.runtime.clock(),
            key=f"answer:{self.runtime.name}:{message}",
            in_reply_to=message,
        )


def _unseen(_text: str) -> None:
    """A command's output is shown when its result is committed, not live."""
