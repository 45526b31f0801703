"""Takes one step of a turn: decide from the history, act, commit."""

from __future__ import annotations

from actors.agent.model_calls import ModelCalls
from actors.agent.recovery import duties, guard
from actors.agent.recovery.stuck import Recovery
from actors.agent.state import WorkingState
from actors.agent.tool_calls import ToolCalls
from actors.agent.turn import (
    AskModel,
    Continue,
    Correct,
    Ended,
    EndTurn,
    RunTool,
    StepResult,
    Stuck,
    next_step,
)
from actors.agent.turn_end import end_turn
from store.entries import ToolResultBody
from store.rows import Message


class Steps:
    """The part of an agent that takes steps."""

    def __init__(
        self, state: WorkingState, tool_calls: ToolCalls, model_calls: ModelCalls, recovery: Recovery
    ) -> None:
        self._state = state
        self._tool_calls = tool_calls
        self._model_calls = model_calls
        self._recovery = recovery

    def take(self, turn: Message) -> StepResult:
        """Take the next step of the turn and commit it."""
        match next_step(self._state.memory.entries):
            case AskModel():
                return self._ask(turn)
            case RunTool() as call:
                return self._tool_calls.run(turn, call)
            case Correct(problems):
                return self._correct(problems)
            case EndTurn(text):
                return self._end_or_remind(turn, text)

    def _ask(self, turn: Message) -> StepResult:
        entries = self._state.memory.entries
        if isinstance(entries[-1].body, ToolResultBody):
            match guard.check_loops(entries):
                case guard.Nudge(text, reason):
                    self._state.nudge(text, reason)
                    return Continue()
                case guard.Exhausted(reason):
                    return Stuck(reason)
                case None:
                    pass
        exceeded = self._state.budget.exceeded()
        if exceeded is not None:
            return Stuck(exceeded)
        return self._model_calls.call(turn)

    def _correct(self, problems: tuple[str, ...]) -> StepResult:
        errors = guard.format_errors(self._state.memory.entries)
        if errors >= self._state.runtime.config.budgets.format_errors:
            return Stuck(f"{errors} unusable replies in a row")
        self._state.nudge("\n".join(problems), "format")
        return Continue()

    def _end_or_remind(self, turn: Message, text: str) -> StepResult:
        """End the turn, unless something has to be done first; after some reminders the turn is stuck."""
        reminder = self._state.unfinished_duty(turn)
        if reminder is None:
            end_turn(self._state, self._tool_calls, turn, text)
            return Ended()
        if guard.nudges(self._state.memory.entries, duties.REASON) < duties.NUDGES:
            self._state.nudge(reminder, duties.REASON)
            return Continue()
        if self._state.has_open_task():
            return Stuck("it stopped without submitting")
        self._recovery.do_duty(turn, text)
        return Ended()
