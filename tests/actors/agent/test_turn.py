"""The pure next step: a table of histories' ends, and that any history leads somewhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.agent.turn import AskModel, Correct, EndTurn, RunTool, next_step
from store.entries import ToolResultBody
from tests.support.entries import Tail

LS = ("shell", {"command": "ls"})
PWD = ("shell", {"command": "pwd"})


def _begun() -> Tail:
    tail = Tail()
    tail.system()
    tail.message()
    return tail


def test_an_empty_history_asks_for_nothing() -> None:
    assert next_step([]) == EndTurn("")


def test_a_message_asks_the_model() -> None:
    assert next_step(_begun().rows) == AskModel()


def test_a_reply_without_calls_ends_the_turn_with_its_text() -> None:
    tail = _begun()
    tail.reply(text="Done.")
    assert next_step(tail.rows) == EndTurn("Done.")


def test_a_reply_with_problems_and_no_call_is_corrected() -> None:
    tail = _begun()
    tail.reply(problems=("no such tool",))
    assert next_step(tail.rows) == Correct(("no such tool",))


def test_calls_are_run_one_by_one_in_their_order_and_then_the_model_is_asked() -> None:
    tail = _begun()
    reply = tail.reply(LS, PWD)
    assert next_step(tail.rows) == RunTool(reply.id, 0, *LS)
    tail.result(reply, 0)
    assert next_step(tail.rows) == RunTool(reply.id, 1, *PWD)
    tail.result(reply, 1)
    assert next_step(tail.rows) == AskModel()


def test_a_call_comes_before_what_was_said_in_between() -> None:
    tail = _begun()
    reply = tail.reply(LS)
    tail.nudge()
    assert next_step(tail.rows) == RunTool(reply.id, 0, *LS)


def test_after_a_nudge_the_model_is_asked() -> None:
    tail = _begun()
    tail.reply(problems=("x",))
    tail.nudge("format")
    assert next_step(tail.rows) == AskModel()


def test_a_fresh_context_does_not_run_the_calls_of_the_older_one() -> None:
    tail = _begun()
    tail.reply(LS)
    tail.system()
    tail.message()
    assert next_step(tail.rows) == AskModel()


def test_notes_change_nothing() -> None:
    tail = _begun()
    reply = tail.reply(LS)
    before = next_step(tail.rows)
    tail.note()
    assert next_step(tail.rows) == before == RunTool(reply.id, 0, *LS)


@given(script=st.lists(st.sampled_from(["message", "nudge", "note", "reply", "tools", "problems", "step"])))
def test_from_any_history_every_call_is_answered_once_before_the_model_is_asked_or_the_turn_ends(
    script: list[str],
) -> None:
    tail = _begun()
    for word in script:
        match word:
            case "message" | "nudge" | "note":
                getattr(tail, word)()
            case "reply":
                tail.reply(text="x")
            case "tools":
                tail.reply(LS, PWD)
            case "problems":
                tail.reply(problems=("x",))
            case _:
                _follow(tail)
    for _ in range(10):
        if not _follow(tail):
            return
    raise AssertionError("the turn does not come to the model or an end")


def _follow(tail: Tail) -> bool:
    step = next_step(tail.rows)
    if not isinstance(step, RunTool):
        return False
    reply = tail.rows[step.reply - 1]
    results = [e.body for e in tail.rows if isinstance(e.body, ToolResultBody)]
    assert (reply.id, step.position) not in {(r.reply, r.position) for r in results}, "a call was run twice"
    tail.result(reply, step.position)
    return True
