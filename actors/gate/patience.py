"""How long the gate waits for a tester's verdict: so much of the tester's own time at work, and no longer.

Its queue, a pause, an outage of the model and the machine's sleep do not count; of a tester in quarantine
every minute does, for it may never come back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.work import assignment
from store import crew, inbox, tasks
from store.engine import Store
from store.rows import Task
from store.states import Activity, AgentState, Role, TaskState

QA_PATIENCE_S = 2_700.0
AT_REST = frozenset({Activity.PAUSED, Activity.WAITING, Activity.IDLE, Activity.NO_SPACE})


@dataclass(slots=True)
class QaPatience:
    """One project's gate's. What was asked is a task with its candidate: each has a patience of its own."""

    store: Store
    project: str
    _left_s: dict[tuple[int, str], float] = field(default_factory=dict)

    def spend(self, elapsed_s: float) -> list[Task]:
        """Take `elapsed_s` from what the tester has in hand now; the tasks for which none is left any more."""
        tester = crew.agent(self.store, assignment.member(self.project, Role.QA))
        is_gone = tester.state == AgentState.QUARANTINED
        if not is_gone and tester.activity in AT_REST:
            return []
        in_hand = {
            (row.body["task"], row.body["candidate"])
            for row in inbox.claimed(self.store, tester.name)
            if row.kind == "review_requested"
        }
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
