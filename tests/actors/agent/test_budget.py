"""What a task or a turn has used of its budgets."""

from __future__ import annotations

from pathlib import Path

from actors.agent.budget import TaskBudget, TurnBudget
from actors.settings import BudgetSettings
from store.entries import ReplyCost
from tests.actors.runtime import shop as stage

NO_COST = ReplyCost()


def test_time_at_work_is_stored_with_the_next_reply_and_once(tmp_path: Path) -> None:
    with stage.opened(tmp_path) as shop:
        task, agent = shop.plan(), shop.agent()
        budget = TaskBudget(agent.runtime, task)
        budget.add_work(2.5)
        for _ in range(2):
            with agent.write() as tx:
                budget.add_reply(tx, ReplyCost(generated_tokens=10))
        usage = shop.task(task).usage
        assert (usage.steps, usage.generated_tokens, usage.active_s) == (2, 20, 2.5)


def test_turn_without_a_task_ends_after_the_steps_of_a_task(tmp_path: Path) -> None:
    with stage.opened(tmp_path) as shop:
        agent = shop.agent(stage.PM)
        budget = TurnBudget(BudgetSettings(steps_per_task=2))
        for expected in (None, None, "it used up its 2 steps"):
            assert budget.exceeded() == expected
            with agent.write() as tx:
                budget.add_reply(tx, NO_COST)
