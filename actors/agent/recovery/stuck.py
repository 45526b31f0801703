"""What happens to a stuck turn: its task climbs the recovery ladder, or code does what the model did not do."""

from __future__ import annotations

from dataclasses import replace

from actors import log
from actors.agent.budget import TaskBudget
from actors.agent.context import briefing
from actors.agent.recovery import duties
from actors.agent.recovery.ladder import Rung, next_rung
from actors.agent.state import COMMIT_PATIENCE_S, WorkingState
from actors.agent.tool_calls import ToolCalls
from actors.agent.turn import Continue, Ended
from actors.agent.turn_end import end_turn
from actors.git.commits import commit_all
from actors.work import assignment, outcomes
from store import crew, incidents, tasks
from store.engine import Transaction
from store.entries import Entry, MessageBody
from store.rows import Message, Task
from store.states import Activity, IncidentKind


class Recovery:
    """The part of an agent that gives up one way of working and tries another."""

    def __init__(self, state: WorkingState, tool_calls: ToolCalls) -> None:
        self._state = state
        self._runtime = state.runtime
        self._tool_calls = tool_calls

    def recover(self, turn: Message, reason: str) -> Continue | Ended:
        """Act on a stuck turn and commit that. An agent without an open task ends its turn."""
        budget = self._state.budget
        if isinstance(budget, TaskBudget) and self._state.has_open_task():
            return self._climb(turn, budget, reason)
        self.do_duty(turn, "", note=f"turn ended: {reason}")
        return Ended()

    def do_duty(self, turn: Message, text: str, *, note: str | None = None) -> None:
        """End the turn and do by code what its role should have done. For `text` and `note` see `end_turn`."""
        effects = duties.give_up(self._runtime, self._state.role, self._state.project, turn)
        end_turn(self._state, self._tool_calls, turn, text, effects, note=note)

    def keep_work(self, message: str) -> None:
        """Commit everything in the task's worktree, finished or not, so that no work is lost."""
        self._state.expect(Activity.COMMIT, COMMIT_PATIENCE_S, at_least_s=COMMIT_PATIENCE_S)
        if self._state.task is not None:
            worktree = self._state.workspace.worktree_of(self._state.task)
            commit_all(worktree, message, locks=self._runtime.home.locks)

    # -- the ladder ----------------------------------------------------------------------------

    def _climb(self, turn: Message, budget: TaskBudget, reason: str) -> Continue | Ended:
        task = tasks.get(self._runtime.store, budget.task)
        rung = next_rung(budget.rung, others=self._others())
        log.warning("ladder_climbed", actor=self._runtime.name, task=task.id, rung=rung.name, reason=reason)
        self.keep_work(f"Work until it got stuck: {reason}")
        if rung in (Rung.FRESH_CONTEXT, Rung.OTHER_SAMPLING):
            self._begin_again(task, budget, rung, reason)
            return Continue()
        self._give_up_task(turn, task, budget, rung, reason)
        return Ended()

    def _others(self) -> bool:
        """Whether the team has, or may hire, another agent of this role."""
        if self._state.project is None:
            return False
        project = crew.project(self._runtime.store, self._state.project)
        rows = crew.all_agents(self._runtime.store, project=self._state.project)
        team = [row for row in rows if row.role == self._state.role.value]
        return len(team) > 1 or len(team) < project.engineers

    def _begin_again(self, task: Task, budget: TaskBudget, rung: Rung, reason: str) -> None:
        text = (
            f"{briefing.task_text(self._runtime, task)}\n\nAn earlier try got stuck: {reason}. "
            "Its changes are still in your folder (`git log`, `git diff`). Try another way this time."
        )

        def fresh(tx: Transaction) -> list[Entry]:
            now = self._runtime.clock()
            self._record_rung(tx, task, budget, rung, reason)
            entries = self._state.memory.begin(tx, self._state.system_text(), now=now, task=task.id)
            entries.append(self._state.append(tx, MessageBody("crew", "task_assigned", text)))
            self._state.set_activity(tx, Activity.MODEL)
            return entries

        self._state.write(fresh)

    def _give_up_task(self, turn: Message, task: Task, budget: TaskBudget, rung: Rung, reason: str) -> None:
        def effects(tx: Transaction) -> None:
            now = self._runtime.clock()
            tasks.amend(tx, task.id, now=now, feedback=reason)
            self._record_rung(tx, task, budget, rung, reason)
            if rung is Rung.OTHER_AGENT:
                assignment.replan(tx, task, reason=reason, by=self._runtime.name, now=now)
            else:
                outcomes.park(tx, task, reason=reason, by=self._runtime.name, now=now)

        # Before the commit, because after it the worktree may be another agent's. A kill in between is harmless:
        # the branch has all the work, and the worktree is created again.
        self._state.workspace.close_task(task)
        end_turn(self._state, self._tool_calls, turn, effects=effects, note=f"gave the task up: {reason}")
        self._state.take_up(None)

    def _record_rung(self, tx: Transaction, task: Task, budget: TaskBudget, rung: Rung, reason: str) -> None:
        budget.record(tx, replace(task.usage, rung=int(rung), at_rung=task.usage.spent))
        incidents.record(
            tx,
            IncidentKind.LADDER_CLIMBED,
            now=self._runtime.clock(),
            agent=self._runtime.name,
            project=self._state.project,
            task=task.id,
            rung=rung.name.lower(),
            reason=reason,
        )
