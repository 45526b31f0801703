"""Takes a message from the mailbox: it controls the agent, starts a turn, or joins the running one."""

from __future__ import annotations

from actors.agent.context import briefing
from actors.agent.recovery import duties
from actors.agent.recovery.stuck import Recovery
from actors.agent.state import WorkingState
from actors.agent.tool_calls import ToolCalls
from actors.agent.turn import Continue, Ended
from actors.agent.turn_start import prepare_turn
from actors.runtime import messages
from actors.runtime.addresses import HUMAN
from actors.runtime.context import Effects, nothing
from actors.runtime.messages import AnyMessage, CancelTurn, Pause, Resume
from actors.work import outcomes
from store import crew, inbox, tasks
from store.engine import Transaction
from store.entries import Entry, MessageBody, NoteBody
from store.failpoints import failpoint
from store.rows import Message
from store.states import Activity, TaskState


class Intake:
    """The part of an agent that takes messages."""

    def __init__(self, state: WorkingState, tool_calls: ToolCalls, recovery: Recovery) -> None:
        self._state = state
        self._runtime = state.runtime
        self._tool_calls = tool_calls
        self._recovery = recovery

    def take(self, row: Message) -> Continue | Ended:
        """Take one message and commit what it does. `Ended` if it has ended the running turn."""
        message = messages.decode(row.body)
        turn = self._state.turn
        match message:
            case Pause():
                self._set_paused(row, paused=True)
            case Resume():
                self._set_paused(row, paused=False)
            case CancelTurn(reason=reason):
                self._cancel(row, turn, reason)
                return Ended()
            case _ if turn is None:
                self._begin(row, message)
            case _:
                self._interject(row, message)
        return Continue()

    def _begin(self, row: Message, message: AnyMessage) -> None:
        """Start a turn: the claim, the context and the first entry commit together."""
        state = self._state
        start = prepare_turn(state, message)
        text = start.text or briefing.text_of(self._runtime, message, row.sender)
        now = self._runtime.clock()
        waited_with = state.task
        state.take_up(start.task)
        with self._runtime.store.write(self._runtime.fence) as tx:
            self._claim(tx, row)
            if waited_with is not None and (not start.informational or row.body.get("task") == waited_with):
                duties.stop_waiting(tx, self._runtime, waited_with)
            start.effects(tx)
            entries: list[Entry] = []
            if start.fresh or state.memory.is_empty:
                entries += state.memory.begin(tx, state.system_text(), now=now, task=start.task)
            entries.append(self._append_message(tx, row, message, text))
            if start.informational:
                inbox.acknowledge(tx, row.id, now=now)
            else:
                state.set_activity(tx, Activity.MODEL)
        failpoint("claimed")
        state.memory.add(entries)
        state.turn = None if start.informational else row

    def _interject(self, row: Message, message: AnyMessage) -> None:
        """Add an urgent message to the running turn. Calls that have not run yet are skipped."""
        text = briefing.text_of(self._runtime, message, row.sender)
        with self._runtime.store.write(self._runtime.fence) as tx:
            self._claim(tx, row)
            entries = self._tool_calls.skip_all(tx, f"not run: a message from {row.sender} came first")
            entries.append(self._append_message(tx, row, message, text))
            inbox.acknowledge(tx, row.id, now=self._runtime.clock())
        self._state.memory.add(entries)

    def _append_message(self, tx: Transaction, row: Message, message: AnyMessage, text: str) -> Entry:
        return self._state.append(tx, MessageBody(row.sender, message.kind, text), message=row.id)

    def _set_paused(self, row: Message, *, paused: bool) -> None:
        state = self._state
        with self._runtime.store.write(self._runtime.fence) as tx:
            self._claim(tx, row)
            inbox.acknowledge(tx, row.id, now=self._runtime.clock())
            crew.change_agent(tx, self._runtime.name, paused=paused)
            running = Activity.IDLE if state.turn is None else Activity.MODEL
            state.set_activity(tx, Activity.PAUSED if paused else running)
            state.append(tx, NoteBody("paused" if paused else "resumed"))
        state.paused = paused

    def _cancel(self, row: Message, turn: Message | None, reason: str) -> None:
        """Drop the turn. Its task is parked, and the work that was done is kept on the task's branch."""
        effects = nothing if turn is None else self._parking(reason)
        with self._runtime.store.write(self._runtime.fence) as tx:
            self._claim(tx, row)
            inbox.acknowledge(tx, row.id, now=self._runtime.clock())
            entries = self._tool_calls.skip_all(tx, f"not run: cancelled ({reason})")
            if turn is not None:
                now = self._runtime.clock()
                inbox.withdraw(tx, turn.id, reason=f"cancelled: {reason}", now=now)
            effects(tx)
            self._state.set_activity(tx, Activity.IDLE)
            self._state.append(tx, NoteBody(f"turn cancelled: {reason}"))
        self._state.memory.add(entries)

    def _parking(self, reason: str) -> Effects:
        """The effects that park the task in hand, whose work is committed to its branch now."""
        task_id = self._state.task
        if task_id is None:
            return nothing
        self._recovery.keep_work("Work when the task was cancelled")

        def effects(tx: Transaction) -> None:
            task = tasks.current(tx, task_id)
            if task.state in (TaskState.ASSIGNED, TaskState.IN_PROGRESS):
                outcomes.park(tx, task, reason=reason, by=HUMAN, now=self._runtime.clock())

        return effects

    def _claim(self, tx: Transaction, row: Message) -> None:
        inbox.claim(tx, row.id, generation=self._runtime.generation, now=self._runtime.clock())
