"""What the gate writes about itself and the tasks it holds: its activity, notes in its history, claims on tasks."""

from __future__ import annotations

from dataclasses import dataclass

from actors.errors import Interrupted
from actors.runtime.context import Runtime
from store import crew, history, tasks
from store.engine import Transaction
from store.entries import NoteBody
from store.rows import Task
from store.states import Activity, ProjectState, TaskState

AT_GATE = frozenset({TaskState.SUBMITTED, TaskState.CHECKING})


@dataclass(frozen=True, slots=True)
class Records:
    """Writes under the gate's name. Every method takes the transaction of the caller."""

    runtime: Runtime

    @property
    def gate(self) -> str:
        """The gate's address, `gate.<project>`."""
        return self.runtime.name

    def now(self) -> float:
        """UTC seconds."""
        return self.runtime.clock()

    def note(self, tx: Transaction, text: str) -> None:
        """Add a note for people to the gate's history. It counts as progress."""
        history.append(tx, self.runtime.fence, NoteBody(text), now=self.now())
        history.touch(tx, self.gate, now=self.now())

    def set_idle(self, tx: Transaction) -> None:
        """The gate has nothing in hand."""
        self.set_waiting(tx, Activity.IDLE)

    def set_waiting(self, tx: Transaction, activity: Activity) -> None:
        """The gate does nothing, for the reason that `activity` names."""
        self._change(tx, activity, deadline_at=None, task=None)

    def begin_checking(self, tx: Transaction, task: Task, patience_s: float) -> bool:
        """Move the task from SUBMITTED to CHECKING, with a deadline for the gate's whole run.

        Returns False if the submission is no longer wanted. Raises `Interrupted` while its project is paused.
        """
        if not self.may_continue(tx, task):
            return False
        if tasks.current(tx, task.id).state == TaskState.SUBMITTED:
            tasks.move(
                tx,
                task.id,
                TaskState.CHECKING,
                by=self.gate,
                reason="checks run",
                now=self.now(),
                candidate_commit=None,  # it belongs to an older submission
            )
            self.note(tx, f"task {task.id}: checking {(task.submitted_commit or '')[:10]}")
        self._change(tx, Activity.TOOL, deadline_at=self.now() + patience_s, task=task.id)
        return True

    def may_continue(self, tx: Transaction, task: Task) -> bool:
        """Whether the submission is still wanted. Raises `Interrupted` while its project is paused."""
        if crew.project(tx, task.project).state == ProjectState.PAUSED:
            raise Interrupted(f"{task.project} was paused")
        return is_wanted(tx, task)

    def _change(
        self, tx: Transaction, activity: Activity, *, deadline_at: float | None, task: int | None
    ) -> None:
        crew.change_agent(
            tx,
            self.gate,
            activity=activity,
            activity_since=self.now(),
            deadline_at=deadline_at,
            task=task,
        )


def is_wanted(tx: Transaction, task: Task) -> bool:
    """Whether the submission in `task`, as read earlier, still waits for the gate.

    It may have been taken back, parked or replaced by a newer one, or its project may have ended.
    """
    current = tasks.current(tx, task.id)
    is_same = current.state in AT_GATE and current.submitted_commit == task.submitted_commit
    return is_same and crew.project(tx, task.project).state.is_live
