"""An agent: takes a message, works on it step by step, each step committed before the next begins.

Where it is stands in the store alone: the claimed message is the turn, the history's tail says what
comes next (`turn.next_step`). So a kill between any two instructions loses at most the tokens in
flight, and a new incarnation goes on as if nothing had happened.
"""

from __future__ import annotations

from pathlib import Path

from actors import log
from actors.agent import briefing, duties, guard
from actors.agent.memory import Memory
from actors.agent.model_calls import ModelCalls
from actors.agent.recovery import Recovery
from actors.agent.state import Desk
from actors.agent.tool_calls import Tooling
from actors.agent.turn import (
    AskModel,
    Continue,
    Correct,
    Ended,
    EndTurn,
    RunTool,
    Stuck,
    next_call,
    next_step,
)
from actors.agent.turn_start import opening
from actors.disk import DiskWatch
from actors.runtime import messages
from actors.runtime.actor import Actor
from actors.runtime.addresses import HUMAN, Priority
from actors.runtime.context import Effects, Runtime, nothing
from actors.runtime.messages import AnyMessage, CancelTurn, Pause, Resume
from actors.work import assignment
from store import crew, history, inbox, tasks
from store.engine import Transaction
from store.entries import Entry, MessageBody, NoteBody, ToolResultBody
from store.errors import StaleGeneration, StoreUnwritable
from store.failpoints import failpoint
from store.rows import Message
from store.states import Activity, TaskState

ROOM_LOOK_S = 2.0
PUT_OFF_PATIENCE_S = 600.0  # longer than any pause between two tries of a step


class Agent(Actor):
    """Orchestrator, manager, engineer, QA and the others: one class, told apart by their role files."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.desk: Desk
        self.model_calls: ModelCalls
        self.tooling: Tooling
        self.recovery: Recovery
        self.memory = Memory(runtime.store, runtime.fence)
        self.turn: Message | None = None
        self.paused = False
        self.room = DiskWatch([runtime.home.path], runtime.config.retention.min_free_mb)

    def recover(self) -> None:
        """Load the context and the claimed message: where the older incarnation was."""
        row = crew.agent(self.store, self.runtime.name)
        self.memory.load(row.context_from)
        self.desk = Desk(self.runtime, self.memory, row)
        self.tooling = Tooling(self.desk)
        self.model_calls = ModelCalls(self.desk, self.tooling)
        self.recovery = Recovery(self.desk)
        self.paused = row.paused
        if self.desk.project is not None:
            repository = Path(crew.project(self.store, self.desk.project).repository)
            self.room.paths = [self.runtime.home.path, repository]
        claimed = inbox.claimed(self.store, self.runtime.name)
        if claimed:
            self.turn = claimed[0]
            self.desk.task = self._task_of_turn(self.turn)
            log.info("turn_resumed", message=self.turn.id, kind=self.turn.kind)
        if self.paused or self.turn:
            # The supervisor's row says idle since the fork: a resumed turn needs its deadline like any other.
            with self.write() as tx:
                self.desk.set_activity(tx, Activity.PAUSED if self.paused else Activity.MODEL)

    def _task_of_turn(self, turn: Message) -> int | None:
        """The task that the resumed turn is about; the agent's row may name the next one already."""
        for entry in reversed(self.memory.entries):
            if entry.message == turn.id:
                return entry.task
        return self.desk.task

    # -- choosing what to do -------------------------------------------------------------------

    def drain(self) -> None:
        """Messages and steps until there is nothing to do, or the process is to stop."""
        while not self.coupling.stopping.is_set():
            self.coupling.rearm()
            short = not self.paused and self.room.check() is not None
            least = Priority.CONTROL if short else self._least_priority()
            row = inbox.peek(self.store, self.runtime.name, now=self.now(), least_priority=least)
            if row is not None:
                self.take(row)
            elif short:
                self._wait_for_room()
                return
            elif self.turn is None or self.paused or self._is_put_off(self.turn):
                return
            else:
                self.guarded_step(self.turn)

    def _wait_for_room(self) -> None:
        """Say that work waits, if there is any; each tick looks again, the next step says what it does."""
        if self.desk.activity is Activity.NO_SPACE:
            return
        if self.turn is None and inbox.peek(self.store, self.runtime.name, now=self.now()) is None:
            return
        log.warning("disk_short", actor=self.runtime.name)
        with self.write() as tx:
            self.desk.set_activity(tx, Activity.NO_SPACE)

    def tick(self) -> float:
        """As for every actor, but who waits for room on the disk looks often."""
        if self.room.check() is None:
            self._go_on()
            looks = (super().tick(), self.failures.retries.next_due_at(self.now()))
            return min(at for at in looks if at is not None)
        return self.now() + ROOM_LOOK_S

    def _go_on(self) -> None:
        """There is room again: what waited is taken up at once."""
        if self.desk.activity is not Activity.NO_SPACE:
            return
        with self.write() as tx:
            self.desk.set_activity(tx, Activity.MODEL if self.turn else Activity.IDLE)
        self.drain()

    def _least_priority(self) -> int:
        """Which messages may come in now: all between turns, only pressing ones within one."""
        if self.paused:
            return Priority.CONTROL
        if self.turn is None:
            return 0
        if next_call(self.memory.entries) is not None:
            # Results must follow their calls: a message in between would break the template.
            return Priority.URGENT
        return Priority.HIGH

    def take(self, row: Message) -> None:
        """One message: control it obeys, others begin a turn or are put into the running one."""
        try:
            message = messages.decode(row.body)
            match message:
                case Pause():
                    self._set_paused(row, paused=True)
                case Resume():
                    self._set_paused(row, paused=False)
                case CancelTurn(reason=reason):
                    self._cancel(row, reason)
                case _ if self.turn is None:
                    self.begin(row, message)
                case _:
                    self.interject(row, message)
        except (StaleGeneration, StoreUnwritable):
            raise
        except Exception as error:  # noqa: BLE001 - the actor's boundary: recorded, retried, then a dead letter
            self.failures.record(row, error)
        else:
            # Whatever came in between, a step that was put off is tried again at once.
            self._went_well(row)
            if self.turn is not None:
                self._went_well(self.turn)

    # -- turns ---------------------------------------------------------------------------------

    def begin(self, row: Message, message: AnyMessage) -> None:
        """Open a turn: claim, context and first entry in one transaction."""
        start = opening(self.desk, message)
        text = start.text or briefing.text_of(self.runtime, message, row.sender)
        now = self.now()
        waited, self.desk.task = self.desk.task, start.task
        with self.write() as tx:
            inbox.claim(tx, row.id, generation=self.runtime.generation, now=now)
            if waited is not None and (not start.informational or row.task == waited):
                duties.stop_waiting(tx, self.runtime, waited)
            start.effects(tx)
            entries: list[Entry] = []
            if start.fresh or self.memory.is_empty:
                entries += self.memory.begin(tx, self.desk.system_text(), now=now, task=start.task)
            entries.append(self._message_entry(tx, row, message, text))
            if start.informational:
                inbox.acknowledge(tx, row.id, now=now)
            else:
                self.desk.set_activity(tx, Activity.MODEL)
        failpoint("claimed")
        self.memory.add(entries)
        self.turn = None if start.informational else row

    def interject(self, row: Message, message: AnyMessage) -> None:
        """Put a pressing message into the running turn; calls that still wait are not run."""
        text = briefing.text_of(self.runtime, message, row.sender)
        now = self.now()
        with self.write() as tx:
            inbox.claim(tx, row.id, generation=self.runtime.generation, now=now)
            entries = self.desk.skip_calls(tx, f"not run: a message from {row.sender} came first")
            entries.append(self._message_entry(tx, row, message, text))
            inbox.acknowledge(tx, row.id, now=now)
        self.memory.add(entries)

    def _message_entry(self, tx: Transaction, row: Message, message: AnyMessage, text: str) -> Entry:
        body = MessageBody(row.sender, message.kind, text)
        return history.append(
            tx, self.runtime.fence, body, now=self.now(), message=row.id, task=self.desk.task
        )

    def _set_paused(self, row: Message, *, paused: bool) -> None:
        with self.write() as tx:
            self._take_in(tx, row)
            activity = Activity.PAUSED if paused else Activity.MODEL if self.turn else Activity.IDLE
            crew.change_agent(tx, self.runtime.name, paused=paused)
            self.desk.set_activity(tx, activity)
            note = NoteBody("paused" if paused else "resumed")
            history.append(tx, self.runtime.fence, note, now=self.now())
        self.paused = paused

    def _cancel(self, row: Message, reason: str) -> None:
        """Drop the turn; a task in hand is parked, with what was done kept on its branch."""
        ending = self._parking(reason) if self.turn is not None else nothing
        with self.write() as tx:
            self._take_in(tx, row)
            entries = self.desk.skip_calls(tx, f"not run: cancelled ({reason})")
            if self.turn is not None:
                inbox.withdraw(tx, self.turn.id, reason=f"cancelled: {reason}", now=self.now())
            ending(tx)
            self.desk.set_activity(tx, Activity.IDLE)
            note = NoteBody(f"turn cancelled: {reason}")
            history.append(tx, self.runtime.fence, note, now=self.now())
        self.memory.add(entries)
        self._leave_turn()

    def _parking(self, reason: str) -> Effects:
        task_id = self.desk.task
        if task_id is None:
            return nothing
        self.recovery.keep_work("Work when the task was cancelled")

        def effects(tx: Transaction) -> None:
            task = tasks.current(tx, task_id)
            if task.state in (TaskState.ASSIGNED, TaskState.IN_PROGRESS):
                assignment.park(tx, task, reason=reason, by=HUMAN, now=self.now())

        return effects

    def _take_in(self, tx: Transaction, row: Message) -> None:
        inbox.claim(tx, row.id, generation=self.runtime.generation, now=self.now())
        inbox.acknowledge(tx, row.id, now=self.now())

    # -- steps ---------------------------------------------------------------------------------

    def guarded_step(self, turn: Message) -> None:
        """One step; one that fails is tried again later, until there is no more patience (`setbacks.py`)."""
        try:
            self.step(turn)
            self._went_well(turn)
        except (StaleGeneration, StoreUnwritable):
            raise
        except Exception as error:  # noqa: BLE001 - the actor's boundary: recorded, retried, then a dead letter
            log.error("step_failed", exception=error, message=turn.id)
            if self.turn is not None:  # else it had ended, and what failed was to tidy up
                self._put_off(turn, error)

    def _put_off(self, turn: Message, error: Exception) -> None:
        """The turn stays in hand while its step waits to be tried again."""
        retry = self.failures.retries.after(turn.id, error, self.now())
        if retry is None:
            self._abandon(turn, error)
            return
        with self.write() as tx:
            self.failures.retries.record(tx, turn, retry, error, now=self.now())
            self.desk.set_activity(tx, Activity.WAITING, PUT_OFF_PATIENCE_S)

    def _is_put_off(self, turn: Message) -> bool:
        retry = self.failures.retries.pending(turn.id)
        return retry is not None and retry.is_waiting(self.now())

    def _went_well(self, row: Message) -> None:
        if self.failures.retries.pending(row.id) is not None:
            with self.write() as tx:
                self.failures.retries.drop(tx, row.id, now=self.now())

    def step(self, turn: Message) -> None:
        """Decide purely, act, commit."""
        entries = self.memory.entries
        match next_step(entries):
            case AskModel():
                self._ask(turn)
            case RunTool() as call:
                if self.tooling.run_tool(turn, call):
                    self._leave_turn()
            case Correct(problems):
                if guard.format_errors(entries) >= self.runtime.config.budgets.format_errors:
                    self._climb(turn, f"{guard.format_errors(entries)} unusable replies in a row")
                else:
                    self.desk.nudge("\n".join(problems), "format")
            case EndTurn(text):
                self._end_or_remind(turn, text)

    def _ask(self, turn: Message) -> None:
        entries = self.memory.entries
        if isinstance(entries[-1].body, ToolResultBody):
            match guard.check_loops(entries):
                case guard.Nudge(text, reason):
                    self.desk.nudge(text, reason)
                    return
                case guard.Exhausted(reason):
                    self._climb(turn, reason)
                    return
                case None:
                    pass
        spent = self.recovery.spent_budget(turn)
        if spent is not None:
            self._climb(turn, spent)
            return
        match self.model_calls.call(turn, self._may_end):
            case Stuck(reason):
                self._climb(turn, reason)
            case Ended():
                self._leave_turn()
            case Continue():
                pass

    def _leave_turn(self) -> None:
        """The turn is over and committed; what was only there to look at goes."""
        turn, self.turn = self.turn, None
        self.model_calls.close()
        if turn is not None:
            self._went_well(turn)
        if self.desk.view_is_open and self.desk.project is not None:
            self.desk.view_is_open = False
            self.desk.bench.close_view(crew.project(self.store, self.desk.project), self.desk.view_name)

    def _may_end(self, turn: Message) -> bool:
        return self._owed(turn) is None

    def _owed(self, turn: Message) -> str | None:
        return duties.unfinished(
            self.runtime, self.desk.role, self.desk.project, self.desk.task, turn, self.memory.entries
        )

    def _end_or_remind(self, turn: Message, text: str) -> None:
        owed = self._owed(turn)
        if owed is None:
            self.desk.end_turn(turn, text, nothing)
            self._leave_turn()
        elif guard.nudges(self.memory.entries, duties.REASON) < duties.NUDGES:
            self.desk.nudge(owed, duties.REASON)
        elif self._is_working():
            self._climb(turn, "it stopped without submitting")
        else:
            effects = duties.give_up(self.runtime, self.desk.role, self.desk.project, turn)
            self.desk.end_turn(turn, text, effects)
            self._leave_turn()

    def _climb(self, turn: Message, reason: str) -> None:
        """The recovery ladder; an agent without a task in hand ends its turn and lets code do its duty."""
        if not self._is_working():
            effects = duties.give_up(self.runtime, self.desk.role, self.desk.project, turn)
            self.desk.end_turn(turn, "", effects, note=f"turn ended: {reason}")
            self._leave_turn()
        elif self.recovery.climb(turn, reason):
            self._leave_turn()

    def _is_working(self) -> bool:
        """Whether its task is in its hands; one that was submitted is the gate's."""
        if self.desk.task is None:
            return False
        return bool(tasks.get(self.store, self.desk.task).state == TaskState.IN_PROGRESS)

    def _abandon(self, turn: Message, error: Exception) -> None:
        """The turn cannot go on: its message is a dead letter, its task is parked."""
        self.failures.record(turn, error, final=True)
        self._leave_turn()

    def on_dead_letter(self, tx: Transaction, row: Message, reason: str) -> None:
        """Park the task of a message that became a dead letter: nobody is working on it."""
        self.desk.set_activity(tx, Activity.IDLE)
        task_id = row.task
        if row.kind in ("task_assigned", "task_returned") and task_id is not None:
            task = tasks.current(tx, task_id)
            if task.state in (TaskState.ASSIGNED, TaskState.IN_PROGRESS):
                assignment.park(tx, task, reason=reason, by=self.runtime.name, now=self.now())
