"""What an agent knows of itself while it works, and how it commits a step.

Shared by the parts of an agent: intake, steps, model calls, tool calls and recovery. Used from its thread only.
"""

from __future__ import annotations

from collections.abc import Callable

from actors import log
from actors.agent.budget import TaskBudget, TurnBudget
from actors.agent.context.memory import Memory
from actors.agent.recovery import duties
from actors.agent.workspace import Workspace
from actors.model.protocol import ToolSpec
from actors.roles import load_role, system_prompt
from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN
from actors.runtime.context import Runtime
from actors.runtime.messages import Text
from actors.tools.base import WorktreeTool
from actors.tools.registry import CREW_TOOLS, WORKTREE_TOOL_NAMES, worktree_tools
from actors.work import team
from store import crew, history, inbox, tasks
from store.crew import AgentChange
from store.engine import Transaction
from store.entries import Body, Entry, NudgeBody
from store.rows import Agent as AgentRow
from store.rows import Message
from store.states import Activity, Role, TaskState

MODEL_MARGIN_S = 60.0
COMMIT_PATIENCE_S = 600.0  # several git commands, each with a limit of its own


class WorkingState:
    """The agent's role, turn, task, memory, workspace and activity.

    `turn` is the message being worked on, None between turns. `activity` and `deadline_at` (UTC seconds, None
    for no deadline) are what was committed last.
    """

    def __init__(self, runtime: Runtime, row: AgentRow) -> None:
        """`row` is the agent's, as loaded at its start."""
        assert row.role is not None, f"{row.name} has no role"
        self.runtime = runtime
        self.role = row.role
        self.project = row.project
        self.turn: Message | None = None
        self.paused = row.paused
        self.memory = Memory(runtime.store, runtime.fence)
        self.workspace = Workspace(runtime)
        self.activity = Activity.IDLE
        self.deadline_at: float | None = None
        self.role_file = load_role(self.role.value, runtime.home.roles)
        self.worktree_tools: dict[str, WorktreeTool] = {
            tool.spec.name: tool
            for tool in worktree_tools([name for name in self.role_file.tools if name in WORKTREE_TOOL_NAMES])
        }
        self.specs: list[ToolSpec] = [
            self.worktree_tools[name].spec if name in self.worktree_tools else CREW_TOOLS[name].spec
            for name in self.role_file.tools
        ]
        self.tools_characters = sum(len(str(spec.as_json())) for spec in self.specs)
        self.take_up(row.task)

    def system_text(self) -> str:
        """The role's prompt; equal for every context of this agent."""
        facts = []
        if self.project is not None and self.role is not Role.PROJECT_MANAGER:
            facts.append(("manager", team.manager(self.project)))
        return system_prompt(self.role_file, self.runtime.name, self.project, facts)

    # -- the task in hand ----------------------------------------------------------------------

    @property
    def task(self) -> int | None:
        """The task that the agent works on."""
        return self.budget.task

    def take_up(self, task: int | None) -> None:
        """Work on `task` from now on, or on none; its budget is read when it is first needed."""
        budgets = self.runtime.config.budgets
        self.budget: TaskBudget | TurnBudget = (
            TurnBudget(budgets) if task is None else TaskBudget(self.runtime, task)
        )

    def resume(self, turn: Message) -> None:
        """Continue the turn of an earlier incarnation. The agent's row may name the next task already."""
        self.turn = turn
        for entry in reversed(self.memory.entries):
            if entry.message == turn.id:
                self.take_up(entry.task)
                return

    def has_open_task(self) -> bool:
        """Whether the task is the agent's to work on; a submitted one is the gate's."""
        return self.task is not None and (
            tasks.get(self.runtime.store, self.task).state == TaskState.IN_PROGRESS
        )

    def unfinished_duty(self, turn: Message) -> str | None:
        """The reminder of what the model has to do before the turn may end; None if it may."""
        return duties.unfinished(self.runtime, self.role, self.project, self.task, turn, self.memory.entries)

    # -- commits -------------------------------------------------------------------------------

    def write(
        self,
        effects: Callable[[Transaction], list[Entry]],
        activity: Activity | None = None,
        patience_s: float | None = None,
    ) -> list[Entry]:
        """Commit `effects`, with the next activity if it changes; then add the new entries to the memory."""
        with self.runtime.store.write(self.runtime.fence) as tx:
            entries = effects(tx)
            if activity is not None:
                self.set_activity(tx, activity, patience_s, has_progressed=bool(entries))
            elif entries:
                history.touch(tx, self.runtime.name, now=self.runtime.clock())
        self.memory.add(entries)
        return entries

    def append(self, tx: Transaction, body: Body, *, message: int | None = None) -> Entry:
        """Add a row to the agent's history, about its task. `message`: the id of the message that it is about."""
        return history.append(
            tx, self.runtime.fence, body, now=self.runtime.clock(), message=message, task=self.task
        )

    def nudge(self, text: str, reason: str) -> None:
        """Add a reminder or a correction to the conversation."""
        log.info("nudged", actor=self.runtime.name, reason=reason)
        self.write(lambda tx: [self.append(tx, NudgeBody(text, reason))])

    def finish(self, tx: Transaction, turn: Message, text: str, *, may_wait: bool = True) -> None:
        """Acknowledge the turn's message, and answer it with `text` if a person sent it.

        `may_wait`: False if the agent does not wait for an answer of its manager.
        """
        inbox.acknowledge(tx, turn.id, now=self.runtime.clock())
        self.set_activity(tx, Activity.IDLE)
        if turn.sender == HUMAN and turn.kind == "text":
            self.answer(tx, turn.id, text or "(done, no comment)")
        if may_wait and self.task is not None and duties.asked_for_help(self.memory.entries):
            duties.waiting_effects(self.runtime, self.task)(tx)

    def answer(self, tx: Transaction, message: int, text: str) -> None:
        """Answer a person's message."""
        mailbox.post(
            tx,
            self.runtime.name,
            HUMAN,
            Text(text=text),
            now=self.runtime.clock(),
            key=f"answer:{self.runtime.name}:{message}",
            in_reply_to=message,
        )

    # -- activity and deadline -----------------------------------------------------------------

    def set_activity(
        self,
        tx: Transaction,
        activity: Activity,
        patience_s: float | None = None,
        *,
        has_progressed: bool = False,
    ) -> None:
        """Record what the agent does from this commit on, and that it must have progressed in `patience_s`.

        The patience for a model call follows from the configuration.
        """
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
        """Before something long: make sure that the committed deadline leaves it `at_least_s` seconds.

        Commits only if it does not. Time spent since the last commit, on a malformed reply or a host that
        failed, must not shorten the time for what comes now.
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
