"""An agent as an actor: it takes messages, and works on one of them in many steps.

Where it stands is only in the store: the claimed message is the turn, and the tail of the history says what
comes next (`turn.next_step`). So a kill between any two instructions loses at most the tokens in flight, and a
new incarnation continues the turn.
"""

from __future__ import annotations

from pathlib import Path

from actors import log
from actors.agent.intake import Intake
from actors.agent.model_calls import ModelCalls
from actors.agent.recovery.stuck import Recovery
from actors.agent.state import WorkingState
from actors.agent.steps import Steps
from actors.agent.tool_calls import ToolCalls
from actors.agent.turn import Continue, Ended, Retry, Stuck, next_call
from actors.disk import DiskWatch
from actors.runtime.actor import Actor
from actors.runtime.addresses import Priority
from actors.runtime.context import Runtime
from actors.runtime.retries import INFRASTRUCTURE
from actors.work import outcomes
from store import crew, inbox, tasks
from store.engine import Transaction
from store.errors import StaleGeneration, StoreUnwritable
from store.rows import Message
from store.states import Activity, TaskState

DISK_CHECK_S = 2.0
RETRY_PATIENCE_S = 600.0  # longer than any pause before a retry


class Agent(Actor):
    """Orchestrator, manager, engineer, QA and the others: one class, whose role file makes the difference."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.state: WorkingState
        self._intake: Intake
        self._steps: Steps
        self._recovery: Recovery
        self._model_calls: ModelCalls
        self._disk = DiskWatch([runtime.home.path], runtime.config.retention.min_free_mb)

    def recover(self) -> None:
        """Load the context, and the turn that an earlier incarnation left."""
        row = crew.agent(self.store, self.runtime.name)
        state = self.state = WorkingState(self.runtime, row)
        state.memory.load(row.context_from)
        tool_calls = ToolCalls(state)
        self._recovery = Recovery(state, tool_calls)
        self._intake = Intake(state, tool_calls, self._recovery)
        self._model_calls = ModelCalls(state, tool_calls)
        self._steps = Steps(state, tool_calls, self._model_calls, self._recovery)
        if state.project is not None:
            repository = Path(crew.project(self.store, state.project).repository)
            self._disk.paths = [self.runtime.home.path, repository]
        claimed = inbox.claimed(self.store, self.runtime.name)
        if claimed:
            state.resume(claimed[0])
            log.info("turn_resumed", message=claimed[0].id, kind=claimed[0].kind)
        if state.paused or state.turn:
            # The row says idle since the fork, and a resumed turn needs a deadline like any other.
            with self.write() as tx:
                state.set_activity(tx, Activity.PAUSED if state.paused else Activity.MODEL)

    def close(self) -> None:
        """Close the connections to the model."""
        self._model_calls.close()

    # -- choosing what to do -------------------------------------------------------------------

    def drain(self) -> None:
        """Take messages and steps until there is nothing to do, or the process is asked to stop."""
        while not self.coupling.stopping.is_set():
            self.coupling.rearm()
            is_short = not self.state.paused and self._disk.check() is not None
            least = Priority.CONTROL if is_short else self._least_priority()
            row = inbox.peek(self.store, self.runtime.name, now=self.now(), least_priority=least)
            if row is not None:
                self.take(row)
            elif is_short:
                self._wait_for_space()
                return
            elif self.state.turn is None or self.state.paused or self._is_retry_waiting(self.state.turn):
                return
            else:
                self.step(self.state.turn)

    def _least_priority(self) -> int:
        """Which messages are read now: all between turns, only urgent ones within a turn."""
        if self.state.paused:
            return Priority.CONTROL
        if self.state.turn is None:
            return 0
        if next_call(self.state.memory.entries) is not None:
            # Results must follow their calls, and a message in between would break the model's chat template.
            return Priority.URGENT
        return Priority.HIGH

    # -- acting on a message or a step -----------------------------------------------------------

    def take(self, row: Message) -> None:
        """Take one message. If that fails, it is retried later or becomes a dead letter."""
        try:
            result = self._intake.take(row)
        except (StaleGeneration, StoreUnwritable):
            raise
        except Exception as error:  # noqa: BLE001 - the actor's boundary: recorded, retried, then a dead letter
            self.failures.record(row, error)
            return
        self._drop_retry(row)
        turn = self.state.turn
        if isinstance(result, Ended):
            self._leave(turn)
        elif turn is not None:
            # A step that waits to be retried is retried now: the message may have changed what failed.
            self._drop_retry(turn)

    def step(self, turn: Message) -> None:
        """Take one step of the turn, and act on its result."""
        match self._take_step(turn):
            case Continue():
                self._drop_retry(turn)
            case Ended():
                self._leave(turn)
            case Retry(error):
                self._retry_later(turn, error)

    def _take_step(self, turn: Message) -> Continue | Ended | Retry:
        try:
            result = self._steps.take(turn)
            return self._recovery.recover(turn, result.reason) if isinstance(result, Stuck) else result
        except (StaleGeneration, StoreUnwritable):
            raise
        except Exception as error:  # noqa: BLE001 - the actor's boundary: recorded, retried, then a dead letter
            log.error("step_failed", exception=error, message=turn.id)
            return Retry(error)

    def _leave(self, turn: Message | None) -> None:
        """The end of the turn is committed: close what was open for it."""
        self.state.turn = None
        self._model_calls.close()
        if turn is not None:
            self._drop_retry(turn)
        try:
            self.state.workspace.close_view()
        except INFRASTRUCTURE as error:
            # Harmless: the next view replaces what is left of this one.
            log.warning("view_not_removed", exception=error)

    # -- retries -------------------------------------------------------------------------------

    def _retry_later(self, turn: Message, error: Exception) -> None:
        """Keep the turn until its step can be retried. After the last retry its message is a dead letter."""
        retry = self.failures.retries.after(turn.id, error, self.now())
        if retry is None:
            self.failures.record(turn, error, final=True)
            self._leave(turn)
            return
        with self.write() as tx:
            self.failures.retries.record(tx, turn, retry, error, now=self.now())
            self.state.set_activity(tx, Activity.WAITING, RETRY_PATIENCE_S)

    def _is_retry_waiting(self, turn: Message) -> bool:
        retry = self.failures.retries.pending(turn.id)
        return retry is not None and retry.is_waiting(self.now())

    def _drop_retry(self, row: Message) -> None:
        if self.failures.retries.pending(row.id) is not None:
            with self.write() as tx:
                self.failures.retries.drop(tx, row.id, now=self.now())

    def on_dead_letter(self, tx: Transaction, row: Message, reason: str) -> None:
        """Park the task of a message that became a dead letter: nobody is working on it."""
        self.state.set_activity(tx, Activity.IDLE)
        task_id = row.body.get("task")
        if row.kind in ("task_assigned", "task_returned") and task_id is not None:
            task = tasks.current(tx, task_id)
            if task.state in (TaskState.ASSIGNED, TaskState.IN_PROGRESS):
                outcomes.park(tx, task, reason=reason, by=self.runtime.name, now=self.now())

    # -- disk space ----------------------------------------------------------------------------

    def tick(self) -> float:
        """Run again when a poll or a retry is due. Check often while there is too little disk space."""
        if self._disk.check() is not None:
            return self.now() + DISK_CHECK_S
        if self.state.activity is Activity.NO_SPACE:
            with self.write() as tx:
                self.state.set_activity(tx, Activity.MODEL if self.state.turn else Activity.IDLE)
            self.drain()
        due_at = self.failures.retries.next_due_at(self.now())
        poll_at = super().tick()
        return poll_at if due_at is None else min(poll_at, due_at)

    def _wait_for_space(self) -> None:
        """Record that work waits for disk space, if any does."""
        if self.state.activity is Activity.NO_SPACE:
            return
        if self.state.turn is None and inbox.peek(self.store, self.runtime.name, now=self.now()) is None:
            return
        log.warning("disk_short", actor=self.runtime.name)
        with self.write() as tx:
            self.state.set_activity(tx, Activity.NO_SPACE)
