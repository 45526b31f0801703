"""What a task, or a turn without a task, has used of its budgets."""

from __future__ import annotations

from dataclasses import replace

from actors.runtime.context import Runtime
from actors.settings import BudgetSettings
from store import tasks
from store.engine import Transaction
from store.entries import ReplyCost
from store.rows import Usage


class TaskBudget:
    """Of the task that an agent works on. The store has what was used; nobody else writes it meanwhile.

    Only time at work counts. Waiting for a model, for the gate or for a sleeping machine uses nothing.
    """

    def __init__(self, runtime: Runtime, task: int) -> None:
        self.task = task
        self._runtime = runtime
        self._budgets = runtime.config.budgets
        self._usage: Usage | None = None
        self._active_s = 0.0  # worked since the last reply was committed

    @property
    def usage(self) -> Usage:
        """What the task has used, including by earlier agents."""
        if self._usage is None:
            self._usage = tasks.get(self._runtime.store, self.task).usage
        return self._usage

    @property
    def rung(self) -> int:
        """The task's rung on the recovery ladder."""
        return self.usage.rung

    def add_work(self, seconds: float) -> None:
        """Count time at work; it is stored with the next reply."""
        self._active_s += seconds

    def add_reply(self, tx: Transaction, cost: ReplyCost) -> None:
        """Count a reply, and the work since the one before."""
        usage = tasks.current(tx, self.task).usage
        counted = replace(
            usage,
            steps=usage.steps + 1,
            prompt_tokens=usage.prompt_tokens + (cost.prompt_tokens or 0),
            cached_tokens=usage.cached_tokens + (cost.cached_tokens or 0),
            generated_tokens=usage.generated_tokens + (cost.generated_tokens or 0),
            total_ms=usage.total_ms + (cost.total_ms or 0),
            queue_ms=usage.queue_ms + (cost.queue_ms or 0),
            active_s=round(usage.active_s + self._active_s, 3),
        )
        self._active_s = 0.0
        self.record(tx, counted)

    def record(self, tx: Transaction, usage: Usage) -> None:
        """Store a changed usage."""
        tasks.amend(tx, self.task, now=self._runtime.clock(), usage=usage)
        self._usage = usage

    def exceeded(self) -> str | None:
        """Which budget the task has used up on its rung, if any. Read before each call to the model."""
        spent = self.usage.on_this_rung
        if spent.steps >= self._budgets.steps_per_task:
            return f"it used up its {self._budgets.steps_per_task} steps"
        if spent.generated_tokens >= self._budgets.tokens_per_task:
            return f"it used up its {self._budgets.tokens_per_task} tokens"
        if spent.active_s / 60 >= self._budgets.minutes_per_task:
            return f"it used up its {self._budgets.minutes_per_task:g} minutes"
        return None


class TurnBudget:
    """Of a turn without a task: as many steps as a task has, or a model that always calls a tool never ends it."""

    task = None
    rung = 0

    def __init__(self, budgets: BudgetSettings) -> None:
        self._most = budgets.steps_per_task
        self._replies = 0

    def add_work(self, seconds: float) -> None:
        """Time is not limited."""

    def add_reply(self, tx: Transaction, cost: ReplyCost) -> None:
        """Count a reply, in this process only."""
        self._replies += 1

    def exceeded(self) -> str | None:
        """Whether the steps are used up."""
        return f"it used up its {self._most} steps" if self._replies >= self._most else None
