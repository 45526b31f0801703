"""The prompt: byte-stable, the same after a reload, and within its window after masking and summaries."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict

import pytest

from actors.agent import context
from actors.agent.memory import Memory
from actors.agent.summary import written_summary
from store import crew, history
from store.engine import Fence, Store, Transaction
from store.history import Entry
from store.states import EntryKind
from tests.support.entries import Tail
from tests.support.stores import NOW, add_agent, new_incarnation

WINDOW = 8_000  # tokens


class Life:
    """An agent's rows in a real store, compacted by the agent's own rules at each step."""

    def __init__(self, store: Store) -> None:
        add_agent(store, "engineer")
        self.store = store
        self.fence = new_incarnation(store, "engineer")
        self.memory = Memory(store, self.fence)
        self.summaries = 0

    def commit(self, write: Callable[[Transaction], list[Entry]]) -> list[Entry]:
        with self.store.write(self.fence) as tx:
            entries = write(tx)
        self.memory.add(entries)
        return entries

    def add(self, kind: EntryKind, /, **body: object) -> Entry:
        return self.commit(lambda tx: [history.append(tx, self.fence, kind, dict(body), now=NOW)])[0]

    def begin(self) -> None:
        self.commit(lambda tx: self.memory.begin(tx, "You are an engineer.", now=NOW, task=None))

    def step(self, number: int, size: int) -> None:
        """One call and its result, of `size` characters."""
        call = {"name": "shell", "arguments": {"command": f"step {number}"}}
        reply = self.add(EntryKind.REPLY, text="", calls=[call], problems=[], done_reason="stop", cost={})
        self.add(
            EntryKind.TOOL_RESULT, reply=reply.id, position=0, tool="shell", text="x" * size, ok=True, settled=False
        )

    def compact(self) -> None:
        """As an agent does before each request: mask first, then summarise."""
        if context.tokens(self.memory.entries, 0) > context.MASK_AT * WINDOW:
            mask = context.next_mask(self.memory.entries)
            if mask is not None:
                self.commit(lambda tx: self.memory.mask(tx, mask, now=NOW))
        if context.tokens(self.memory.entries, 0) > context.SUMMARISE_AT * WINDOW:
            keep = context.next_keep(self.memory.entries)
            if keep is not None:
                text = written_summary(self.memory.entries, keep)
                self.commit(lambda tx: self.memory.summarise(tx, text, keep, now=NOW))
                self.summaries += 1

    def reloaded(self) -> Memory:
        """What a new incarnation would have in memory."""
        memory = Memory(self.store, Fence("engineer", self.fence.generation))
        memory.load(crew.agent(self.store, "engineer")["context_from"])
        return memory


@pytest.fixture
def life(store: Store) -> Life:
    return Life(store)


def _bytes(memory: Memory) -> bytes:
    return repr([asdict(message) for message in context.prompt(memory.entries)]).encode()


def test_between_compactions_each_prompt_begins_with_the_whole_one_before(life: Life) -> None:
    life.begin()
    life.add(EntryKind.MESSAGE, sender="pm", kind="text", text="Do it.")
    before = context.prompt(life.memory.entries)
    for number in range(50):
        life.step(number, 100)
        after = context.prompt(life.memory.entries)
        assert after[: len(before)] == before
        before = after


def test_equal_histories_give_equal_prompts_byte_by_byte_and_notes_are_not_in_them(life: Life) -> None:
    life.begin()
    life.add(EntryKind.MESSAGE, sender="pm", kind="text", text="Do it.")
    life.step(1, 100)
    before = _bytes(life.memory)
    life.add(EntryKind.NOTE, text="paused")
    assert _bytes(life.memory) == before == _bytes(life.reloaded())


@pytest.mark.parametrize("seed", range(4))
def test_through_a_nights_compactions_a_restart_at_any_step_sends_the_identical_prompt(
    life: Life, seed: int
) -> None:
    dice = random.Random(seed)
    life.begin()
    life.add(EntryKind.MESSAGE, sender="pm", kind="text", text="Do it.")
    for number in range(150):
        life.step(number, dice.choice([50, 500, 3_000, 6_000]))
        if dice.random() < 0.05:
            life.add(EntryKind.MESSAGE, sender="human", kind="text", text=f"mind {number}")
        if dice.random() < 0.1:
            life.add(EntryKind.NUDGE, text="Try another way.", reason="loop")
        life.compact()
        assert _bytes(life.memory) == _bytes(life.reloaded()), number
        assert context.tokens(life.memory.entries, 0) < WINDOW, number
        roles = [message.role for message in context.prompt(life.memory.entries)]
        assert roles[0] == "system"
        assert roles.count("system") == 1
        results = [i for i, role in enumerate(roles) if role == "tool"]
        assert all(roles[i - 1] in ("assistant", "tool") for i in results), "a result without its call"
    assert life.summaries > 3


def test_the_first_message_stays_in_the_prompt_through_every_summary(life: Life) -> None:
    life.begin()
    life.add(EntryKind.MESSAGE, sender="pm", kind="text", text="The task, in words.")
    for number in range(200):
        life.step(number, 2_000)
        life.compact()
    assert life.summaries > 2
    assert "The task, in words." in [message.content for message in context.prompt(life.memory.entries)]


def test_every_summary_keeps_what_the_one_before_it_said(life: Life) -> None:
    """Also when the new cut lies before the row of the old summary, as it does with long outputs."""
    life.begin()
    life.add(EntryKind.MESSAGE, sender="pm", kind="text", text="Do it.")
    steps = 0
    while life.summaries < 4:
        life.step(steps, 2_400)
        steps += 1
        life.compact()
    prompt = "\n".join(message.content for message in context.prompt(life.memory.entries))
    calls = [c.arguments["command"] for m in context.prompt(life.memory.entries) for c in m.tool_calls]
    missing = [n for n in range(steps) if f"step {n} " not in prompt and f"step {n}" not in calls]
    assert missing == [], f"{len(missing)} of {steps} steps are forgotten"


def test_a_fresh_context_holds_nothing_of_the_older_one(life: Life) -> None:
    life.begin()
    life.add(EntryKind.MESSAGE, sender="pm", kind="text", text="old")
    life.begin()
    life.add(EntryKind.MESSAGE, sender="pm", kind="text", text="new")
    contents = [message.content for message in context.prompt(life.memory.entries)]
    assert contents == ["You are an engineer.", "new"]
    assert _bytes(life.reloaded()) == _bytes(life.memory)


def test_masking_leaves_the_newest_results_and_the_short_ones_as_they_were() -> None:
    tail = Tail()
    tail.system()
    tail.message()
    for number in range(12):
        tail.call(f"step {number}", "y" * (100 if number == 0 else 1_000))
    mask = context.next_mask(tail.rows)
    assert mask is not None
    tail.add(EntryKind.SUMMARY, text="", mask_to=mask)
    results = [m.content for m in context.prompt(tail.rows) if m.role == "tool"]
    assert results[0] == "y" * 100
    assert results[1:6] == [context.MASKED] * 5
    assert results[6:] == ["y" * 1_000] * 6
    assert context.next_mask(tail.rows) is None, "in batches, not one at a time"


def test_a_short_context_is_neither_masked_nor_cut() -> None:
    tail = Tail()
    tail.system()
    tail.message()
    for number in range(3):
        tail.call(f"step {number}", "y" * 1_000)
    assert context.next_mask(tail.rows) is None
    assert context.next_keep(tail.rows) is None


def test_the_servers_count_is_taken_and_only_what_came_after_it_is_guessed() -> None:
    tail = Tail()
    tail.system()
    tail.message("z" * 3_200)
    reply = tail.reply(("shell", {"command": "ls"}))
    reply.body["cost"] = {"prompt_tokens": 1_500, "generated_tokens": 40}
    assert context.tokens(tail.rows, 0) == 1_540
    tail.result(reply, 0, "y" * 320)
    assert 1_640 <= context.tokens(tail.rows, 0) <= 1_650


def test_a_count_that_was_cut_silently_cannot_hide_a_long_prompt() -> None:
    tail = Tail()
    tail.system()
    tail.message("z" * 320_000)
    reply = tail.reply(text="x")
    reply.body["cost"] = {"prompt_tokens": 10, "generated_tokens": 1}
    assert context.tokens(tail.rows, 0) > 40_000


def test_a_written_summary_is_bounded_however_long_the_context_was() -> None:
    tail = Tail()
    tail.system()
    for number in range(500):
        tail.call("c" * 1_000 + str(number), "line\n" + "r" * 1_000)
    text = written_summary(tail.rows, 10_000)
    assert len(text.splitlines()) <= 61
    assert max(len(line) for line in text.splitlines()) < 500
    assert "earlier steps" in text
