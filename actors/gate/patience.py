"""Limits how long the gate waits for a verdict of QA, measured in QA's own working time.

Time in QA's queue, pauses, model outages and suspends of the machine do not count. If QA is quarantined, all
time counts, because it may never come back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.runtime.messages import review_request
from actors.work import team
from store import crew, inbox, tasks
from store.engine import Store
from store.rows import Task
from store.states import Activity, AgentState, Role, TaskState

QA_PATIENCE_S = 2_700.0
AT_REST = frozenset({Activity.PAUSED, Activity.WAITING, Activity.IDLE, Activity.NO_SPACE})


@dataclass(slots=True)
class QaPatience:
    """The remaining time for each question to QA. A question is a task and the candidate to test."""

    store: Store
    project: str
    _left_s: dict[tuple[int, str], float] = field(default_factory=dict)

    def spend(self, elapsed_s: float) -> list[Task]:
        """Subtract `elapsed_s` from the questions QA is working on. Returns the tasks whose time is used up."""
        tester = crew.agent(self.store, team.member(self.project, Role.QA))
        is_gone = tester.state == AgentState.QUARANTINED
        if not is_gone and tester.activity in AT_REST:
            return []
        requests = map(review_request, inbox.claimed(self.store, tester.name))
        in_hand = {(request.task, request.candidate) for request in requests if request is not None}
        overdue = []
        for task in tasks.of_project(self.store, self.project):
            if task.state is not TaskState.CHECKING or task.candidate_commit is None:
                continue
            asked = (task.id, task.candidate_commit)
            if is_gone or asked in in_hand:
                self._left_s[asked] = self._left_s.get(asked, QA_PATIENCE_S) - elapsed_s
                if self._left_s[asked] <= 0:
                    overdue.append(task)
                    del self._left_s[asked]
        return overdue
