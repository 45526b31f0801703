"""What becomes of a stuck task: its budgets, and the rungs of the ladder carried out."""

from __future__ import annotations

from dataclasses import replace

from actors import log
from actors.agent import briefing
from actors.agent.ladder import Rung, next_rung
from actors.agent.state import COMMIT_PATIENCE_S, Desk
from actors.git.commits import commit_all
from actors.work import assignment
from store import crew, incidents, tasks
from store.engine import Transaction
from store.entries import Entry, MessageBody
from store.rows import Message, Task, Usage
from store.states import Activity, IncidentKind


class Recovery:
    """The part of an agent that decides when enough is enough, and goes another way."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.runtime = desk.runtime
        self._turn: int | None = None
        self._asked = 0

    def spent_budget(self, turn: Message) -> str | None:
        """Which budget the task has used up on this rung, if any; asked before each question to the model.

        A turn without a task has the steps of one: a model that goes on calling tools would never end it.
        """
        if self.desk.task is None:
            self._asked = self._asked + 1 if self._turn == turn.id else 1
            self._turn = turn.id
            most = self.runtime.config.budgets.steps_per_task
            return f"it used up its {most} steps" if self._asked > most else None
        budgets = self.runtime.config.budgets
        spent = self.desk.usage.on_this_rung
        if spent.steps >= budgets.steps_per_task:
            return f"it used up its {budgets.steps_per_task} steps"
        if spent.generated_tokens >= budgets.tokens_per_task:
            return f"it used up its {budgets.tokens_per_task} tokens"
        # Time at work only: who waits for a model, a gate or a sleeping machine spends nothing.
        if spent.active_s / 60 >= budgets.minutes_per_task:
            return f"it used up its {budgets.minutes_per_task:g} minutes"
        return None

    def keep_work(self, message: str) -> None:
        """Commit what lies in the worktree, whatever its state: work is never thrown away."""
        self.desk.expect(Activity.COMMIT, COMMIT_PATIENCE_S, at_least_s=COMMIT_PATIENCE_S)
        if self.desk.task is not None and self.desk.bench.worktree is None:
            self.desk.open_bench()
        if self.desk.bench.worktree is not None:
            commit_all(self.desk.bench.worktree, message, locks=self.runtime.home.locks)

    def climb(self, turn: Message, reason: str) -> bool:
        """The next rung for a stuck task; True if the turn is over."""
        assert self.desk.task is not None
        task = tasks.get(self.runtime.store, self.desk.task)
        rung = next_rung(self.desk.rung(), others=self._others())
        log.warning(
            "ladder_climbed", actor=self.runtime.name, task=self.desk.task, rung=rung.name, reason=reason
        )
        self.keep_work(f"Work until it got stuck: {reason}")
        usage = replace(task.usage, rung=int(rung), at_rung=task.usage.spent)
        if rung in (Rung.FRESH_CONTEXT, Rung.OTHER_SAMPLING):
            self._begin_again(task, usage, rung, reason)
            return False

        def leave(tx: Transaction) -> None:
            now = self.runtime.clock()
            self.desk.count(tx, usage)
            tasks.amend(tx, task.id, now=now, feedback=reason)
            self._record_rung(tx, rung, reason)
            if rung is Rung.OTHER_AGENT:
                assignment.replan(tx, task, reason=reason, by=self.runtime.name, now=now)
            else:
                assignment.park(tx, task, reason=reason, by=self.runtime.name, now=now)

        # Before the commit: from then on the worktree may be the next agent's. A kill in between is
        # harmless, the branch has everything and the worktree is made again.
        self.desk.bench.close_task(crew.project(self.runtime.store, task.project), task)
        self.desk.end_turn(turn, "", leave, note=f"gave the task up: {reason}")
        self.desk.task = None
        return True

    def _others(self) -> bool:
        if self.desk.project is None:
            return False
        project = crew.project(self.runtime.store, self.desk.project)
        team = [
            row
            for row in crew.all_agents(self.runtime.store, project=self.desk.project)
            if row.role == self.desk.role.value
        ]
        return len(team) > 1 or len(team) < project.engineers

    def _begin_again(self, task: Task, usage: Usage, rung: Rung, reason: str) -> None:
        text = (
            f"{briefing.task_text(self.runtime, task)}\n\nAn earlier try got stuck: {reason}. "
            "Its changes are still in your folder (`git log`, `git diff`). Go another way this time."
        )

        def fresh(tx: Transaction) -> list[Entry]:
            now = self.runtime.clock()
            self.desk.count(tx, usage)
            self._record_rung(tx, rung, reason)
            entries = self.desk.memory.begin(tx, self.desk.system_text(), now=now, task=task.id)
            entries.append(self.desk.append(tx, MessageBody("crew", "task_assigned", text)))
            self.desk.set_activity(tx, Activity.MODEL)
            return entries

        self.desk.write(fresh)

    def _record_rung(self, tx: Transaction, rung: Rung, reason: str) -> None:
        incidents.record(
            tx,
            IncidentKind.LADDER_CLIMBED,
            now=self.runtime.clock(),
            agent=self.runtime.name,
            project=self.desk.project,
            task=self.desk.task,
            rung=rung.name.lower(),
            reason=reason,
        )
