"""The guard's table, row by row; and the ladder's."""

from __future__ import annotations

import pytest

from actors.agent.recovery import guard
from actors.agent.recovery.guard import Exhausted, Nudge
from actors.agent.recovery.ladder import Rung, next_rung, sampling
from actors.model.protocol import ModelOptions
from tests.support.entries import Tail


def _begun() -> Tail:
    tail = Tail()
    tail.system()
    tail.message()
    return tail


def _findings(calls: list[tuple[str, str, bool]]) -> list[str]:
    """What the guard says after each call: '.', 'nudge' or 'stop'."""
    tail, said = _begun(), []
    for command, text, ok in calls:
        tail.call(command, text, ok=ok)
        match guard.check_loops(tail.rows):
            case Nudge():
                said.append("nudge")
                tail.nudge()
            case Exhausted():
                said.append("stop")
            case None:
                said.append(".")
    return said


def test_the_same_call_with_the_same_result_is_nudged_at_three_and_stopped_at_five() -> None:
    assert _findings([("ls", "a", True)] * 6) == [".", ".", "nudge", ".", "stop", "stop"]


def test_a_call_whose_result_changes_is_not_counted_as_a_repetition() -> None:
    assert set(_findings([("make status", f"{percent} %", True) for percent in range(30)])) == {"."}


def test_two_calls_in_alternation_are_nudged_at_six_and_stopped_at_ten() -> None:
    said = _findings([("ls", "a", True), ("pwd", "b", True)] * 5)
    assert said == [".", ".", ".", ".", ".", "nudge", ".", ".", ".", "stop"]


def test_three_calls_in_rotation_are_not_taken_for_an_alternation() -> None:
    assert set(_findings([("a", "1", True), ("b", "2", True), ("c", "3", True)] * 5)) == {"."}


def test_failures_in_a_row_are_nudged_at_five_and_stopped_at_twelve() -> None:
    said = _findings([(f"try {n}", "error", False) for n in range(12)])
    assert said == ["."] * 4 + ["nudge"] + ["."] * 6 + ["stop"]


def test_one_success_ends_a_row_of_failures() -> None:
    calls = [(f"try {n}", "error", n % 4 == 3) for n in range(24)]
    assert set(_findings(calls)) == {"."}


@pytest.mark.parametrize("interruption", ["message", "system"])
def test_a_message_or_a_fresh_context_restarts_the_count(interruption: str) -> None:
    tail = _begun()
    for _ in range(4):
        tail.call("ls", "a")
    getattr(tail, interruption)()
    tail.call("ls", "a")
    assert guard.check_loops(tail.rows) is None


def test_a_history_without_results_is_no_loop() -> None:
    assert guard.check_loops([]) is None
    assert guard.check_loops(_begun().rows) is None


def test_unusable_replies_are_counted_until_a_usable_one() -> None:
    tail = _begun()
    for _ in range(4):
        tail.reply(problems=("bad",))
        tail.nudge("format")
    assert guard.format_errors(tail.rows) == 4
    tail.call("ls")
    assert guard.format_errors(tail.rows) == 0


def test_nudges_are_counted_by_reason_since_the_last_tool_or_message() -> None:
    tail = _begun()
    tail.nudge("format")
    tail.nudge("loop")
    tail.nudge("format")
    assert (guard.nudges(tail.rows, "format"), guard.nudges(tail.rows, "loop")) == (2, 1)
    tail.message()
    assert guard.nudges(tail.rows, "format") == 0


@pytest.mark.parametrize(
    ("rung", "others", "above"),
    [
        (Rung.START, True, Rung.FRESH_CONTEXT),
        (Rung.FRESH_CONTEXT, True, Rung.OTHER_SAMPLING),
        (Rung.OTHER_SAMPLING, True, Rung.OTHER_AGENT),
        (Rung.OTHER_SAMPLING, False, Rung.PARKED),
        (Rung.OTHER_AGENT, True, Rung.PARKED),
        (Rung.PARKED, True, Rung.PARKED),
    ],
)
def test_the_ladder_is_climbed_rung_by_rung(rung: Rung, others: bool, above: Rung) -> None:
    assert next_rung(rung, others=others) is above


def test_the_first_request_is_as_configured_and_no_repeated_one_is_identical() -> None:
    options = ModelOptions("m", seed=5)
    assert sampling(options, Rung.START, 0) == options
    requests = [sampling(options, rung, attempt) for rung in Rung for attempt in range(10)]
    assert len({repr(request) for request in requests}) == len(requests)
    assert all(request.context_window == options.context_window for request in requests)
