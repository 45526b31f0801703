"""What is committed with what, from the model's answer to its tool's outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actors.agent.agent import Agent
from actors.runtime.addresses import HUMAN, Priority
from actors.runtime.messages import Pause, Resume, TaskAssigned
from store import inbox, journal
from store.rows import Intent
from store.states import Activity, EntryKind, IntentState
from tests.actors.runtime import shop as stage
from tests.actors.runtime.shop import FIRST, Shop, wake
from tests.support.script_words import call, reply, scene

LOOK = call("shell", command="true")
MARK = call("shell", command="echo ran >> mark")
WRITE = call("write_file", path="good.txt", content="1\n")


@contextmanager
def at_a_call(folder: Path, made: dict[str, Any]) -> Iterator[tuple[Shop, Agent, Path]]:
    """An engineer that has just said to make this call, its folder in use; and its folder."""
    scenes = [scene("engineer", ": Make it good", reply("I look.", LOOK), reply("I act.", made))]
    with stage.opened(folder, scenes=scenes) as shop:
        task = shop.plan()
        shop.tell(FIRST, TaskAssigned(task=task))
        agent = shop.agent()
        row = inbox.peek(agent.store, FIRST, now=agent.now())
        assert row is not None
        agent.take(row)
        for _ in range(3):
            step(agent)
        yield shop, agent, shop.home.worktree(stage.NAME, f"t{task}")


def step(agent: Agent) -> None:
    assert agent.state.turn is not None
    agent.step(agent.state.turn)


def intents(shop: Shop, state: IntentState) -> list[Intent]:
    return [row for row in journal.listed(shop.store, state) if row.reply == said(shop)]


def said(shop: Shop) -> int:
    return shop.entries(FIRST, EntryKind.REPLY)[-1].id


def test_a_reply_and_the_intent_of_its_first_call_are_one_commit(tmp_path: Path) -> None:
    with at_a_call(tmp_path, MARK) as (shop, agent, folder):
        assert len(intents(shop, IntentState.INTENDED)) == 1
        assert agent.state.activity is Activity.TOOL
        assert not (folder / "mark").exists()
        step(agent)
        assert len(intents(shop, IntentState.DONE)) == 1
        assert (folder / "mark").read_text() == "ran\n"


def test_a_kill_between_that_commit_and_the_tool_has_it_run_once(tmp_path: Path) -> None:
    with at_a_call(tmp_path, MARK) as (shop, _killed, folder):
        restarted = shop.agent()
        step(restarted)
        assert (folder / "mark").read_text() == "ran\n"
        assert len(intents(shop, IntentState.DONE)) == 1
        assert [ok for _, ok, _ in shop.results(FIRST)] == [True, True]


def test_a_kill_after_the_tool_and_before_its_outcome_is_settled_from_evidence(tmp_path: Path) -> None:
    with at_a_call(tmp_path, WRITE) as (shop, _killed, folder):
        (folder / "good.txt").write_text("1\n")
        step(shop.agent())
        tool, ok, text = shop.results(FIRST)[-1]
        assert (tool, ok) == ("write_file", True)
        assert "The agent was restarted meanwhile" in text


def test_a_call_that_a_pause_kept_waiting_is_intended_anew_before_it_runs(tmp_path: Path) -> None:
    with at_a_call(tmp_path, WRITE) as (shop, agent, folder):
        shop.tell(FIRST, Pause(), sender=HUMAN, priority=Priority.CONTROL)
        wake(agent)
        (before,) = intents(shop, IntentState.INTENDED)
        assert before.evidence["before"] is None  # there was no such file
        (folder / "good.txt").write_text("somebody wrote this meanwhile\n")
        shop.tell(FIRST, Resume(), sender=HUMAN, priority=Priority.CONTROL)
        row = inbox.peek(agent.store, FIRST, now=agent.now())
        assert row is not None
        agent.take(row)
        step(agent)
        assert (folder / "good.txt").read_text() == "1\n"
        (after,) = intents(shop, IntentState.DONE)
        assert after.evidence["before"] is not None
