"""The window over a long night: pure rows, no model; what the server would count is made up, but exact."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.agent.context import prompt as context
from actors.agent.context.memory import Memory
from actors.agent.context.summary import written_summary
from actors.model import wire
from actors.model.protocol import ModelOptions
from store.engine import Store, Transaction
from store.entries import (
    Body,
    Call,
    Entry,
    MaskBody,
    MessageBody,
    NudgeBody,
    ReplyBody,
    ReplyCost,
    SummaryBody,
    SystemBody,
    ToolResultBody,
)
from store.states import Role
from tests.support.stores import add_agent, new_incarnation, open_store

WINDOW = 32_768
MAX_TOKENS = 4_096
ROOM = WINDOW - MAX_TOKENS
CHARACTERS_PER_TOKEN = 3.4  # what this test's server counts by: worse than code, better than the guess
TOOLS_CHARACTERS = 4_000
SYSTEM = "role: engineer\nagent: e\n" + "You are a software engineer. " * 90
TASK = "Your task 1: " + "make it work, " * 150


def called(text: str, *calls: Call, tokens: int = 0) -> ReplyBody:
    cost = ReplyCost(prompt_tokens=tokens, generated_tokens=100) if tokens else ReplyCost()
    return ReplyBody(text, calls, cost=cost)


def characters(entries: list[Entry]) -> int:
    """Of the prompt and the tools, as the template counts them."""
    prompt = context.GrowingPrompt()
    prompt.follow(entries)
    return TOOLS_CHARACTERS + prompt.characters


@dataclass
class Night:
    """A memory without a store: the same rules of compaction as `ContextWindow.compact`."""

    counted: bool = True
    next_id: int = 1
    memory: Memory = field(default_factory=lambda: Memory(None, None))  # type: ignore[arg-type]  # never used here
    longest: int = 0
    masked: int = 0
    summarised: int = 0

    def add(self, body: Body) -> Entry:
        made = Entry(self.next_id, "e", body, None, None, 0.0)
        self.next_id += 1
        self.memory.add([made])
        return made

    def ask(self) -> int:
        """Compact while need be, then the tokens of the prompt that is sent."""
        while self._compact():
            pass
        tokens = int(characters(self.memory.entries) / CHARACTERS_PER_TOKEN)
        self.longest = max(self.longest, tokens)
        return tokens

    def _compact(self) -> bool:
        entries = self.memory.entries
        used = context.tokens(entries, characters(entries)) / ROOM
        mask_to = context.next_mask(entries, ROOM)
        if mask_to is not None and used >= context.MASK_AT:
            self.masked += 1
            self.add(MaskBody(mask_to))
            return True
        keep_from = context.next_keep_from(entries, ROOM)
        if keep_from is not None and used >= context.SUMMARISE_AT:
            self.summarised += 1
            told = [e.id for e in entries if isinstance(e.body, MessageBody) and e.id < keep_from]
            self.add(
                SummaryBody(
                    text=written_summary(entries, keep_from),
                    system=entries[0].id,
                    pinned=tuple(sorted({*told[:1], *told[-2:]})),
                    keep_from=keep_from,
                    mask_to=max(context.compaction(entries).mask_to, keep_from),
                )
            )
            return True
        return False

    def step(self, arguments_characters: int, *outputs: int) -> None:
        """One reply with a call for each output, of so many characters."""
        tokens = self.ask()
        calls = [Call("shell", {"command": "x" * arguments_characters}) for _ in outputs]
        reply = self.add(called("I go on.", *calls, tokens=tokens if self.counted else 0))
        for position, output in enumerate(outputs):
            text = f"{self.next_id} " + "y" * output
            self.add(ToolResultBody(reply.id, position, "shell", text, ok=True))


def begun(*, counted: bool = True) -> Night:
    night = Night(counted)
    night.add(SystemBody(SYSTEM))
    night.add(MessageBody("pm", "task_assigned", TASK))
    return night


@pytest.mark.parametrize("counted", [True, False], ids=["server counts", "server says nothing"])
def test_two_thousand_steps_in_a_32k_window_send_no_over_long_request(counted: bool) -> None:
    night, lots = begun(counted=counted), random.Random(7)
    for step in range(2_000):
        outputs = [lots.choice((40, 300, 2_000, 10_000)) for _ in range(lots.choice((1, 1, 1, 2, 8)))]
        night.step(lots.choice((30, 200, 4_000)) if len(outputs) < 3 else 100, *outputs)
        if step % 97 == 0:
            night.add(MessageBody("human", "text", "How far are you?" * 20))
    assert night.longest <= ROOM
    assert night.masked > 10
    assert night.summarised > 10
    # However long the night, what is kept in memory is a window's worth.
    assert len(night.memory.entries) < 2_000
    said = context.prompt(night.memory.entries)
    assert (said[0].content, said[1].content) == (SYSTEM, TASK)


def test_compactions_are_rare_so_that_the_server_can_reuse_the_prefix() -> None:
    night, lots = begun(), random.Random(3)
    for _ in range(500):
        night.step(100, lots.choice((300, 1_500, 4_000)))
    assert night.masked + night.summarised <= 500 / 8


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12_000), st.lists(st.integers(0, 10_000), max_size=20)), max_size=25)
)
def test_whatever_the_sizes_the_prompt_fits_or_nothing_is_left_to_omit(
    steps: list[tuple[int, list[int]]],
) -> None:
    night = begun()
    for arguments, outputs in steps:
        # One answer has at most MAX_TOKENS, whatever number of calls it is spread over.
        night.step(arguments // max(1, len(outputs)), *outputs)
        assert night.ask() <= ROOM


def test_every_result_follows_its_call_after_a_compaction() -> None:
    night, lots = begun(), random.Random(11)
    for _ in range(300):
        night.step(500, *[lots.choice((200, 9_000)) for _ in range(lots.choice((1, 2, 5)))])
        owed = 0
        for message in context.prompt(night.memory.entries):
            if message.role == "tool":
                owed -= 1
                assert owed >= 0, "a result without its call"
            else:
                assert owed == 0, "a call without its result"
                owed = len(message.tool_calls)


def test_a_summary_contains_the_one_before_it() -> None:
    night = begun()
    for _ in range(3):
        night.step(50, 100)
    keep_from = context.next_keep_from(night.memory.entries, ROOM)
    assert keep_from is None or keep_from > 0
    last = night.memory.entries[-2].id
    said = "- (40 earlier steps)\n- found the bug"
    first = night.add(SummaryBody(said, system=1, pinned=(2,), keep_from=last, mask_to=last))
    # The summary's row comes after the rows that it kept; what it says must not be lost for that.
    assert first.id > last
    text = written_summary(night.memory.entries, night.next_id)
    assert text.splitlines()[0] == "- (40 earlier steps)"
    assert "- found the bug" in text


def test_the_count_of_earlier_steps_adds_up_over_many_summaries() -> None:
    night = begun()
    for _ in range(3_000):
        night.step(2_000, 3_000)
    first = context.compaction(night.memory.entries).text.splitlines()[0]
    assert first.startswith("- (")
    assert int(first.split()[1][1:]) > 4_000  # two lines a step


def test_an_empty_reply_is_not_shown_to_the_model_again() -> None:
    night = begun()
    night.add(ReplyBody("", problems=("empty",)))
    night.add(NudgeBody("Your reply was empty.", "format"))
    assert [m.role for m in context.prompt(night.memory.entries)] == ["system", "user", "user"]


def test_an_implausible_token_count_is_ignored() -> None:
    night = begun()
    for _ in range(12):
        night.step(100, 6_000)
    honest = context.tokens(night.memory.entries, characters(night.memory.entries))
    rows = [
        replace(row, body=replace(row.body, cost=row.body.cost._replace(prompt_tokens=11)))
        if isinstance(row.body, ReplyBody)
        else row
        for row in night.memory.entries
    ]
    assert context.tokens(rows, characters(rows)) >= honest * 0.8


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "crew.db")


def test_a_restart_in_any_step_sends_the_identical_bytes(store: Store) -> None:
    add_agent(store, "e", role=Role.ENGINEER)
    fence = new_incarnation(store, "e")
    memory, lots = Memory(store, fence), random.Random(5)
    options = ModelOptions("m")

    prompt, encoder = context.GrowingPrompt(), wire.Encoder()

    def sent(from_memory: Memory) -> bytes:
        return wire.Encoder().encode(context.prompt(from_memory.entries), (), options)

    with store.write(fence) as tx:
        begun_at = memory.begin(tx, SYSTEM, now=1.0, task=None)
        begun_at.append(_append(tx, memory, MessageBody("pm", "text", TASK)))
    memory.add(begun_at)
    for step in range(150):
        with store.write(fence) as tx:
            reply = _append(tx, memory, called("on", Call("shell", {"command": "x" * 300})))
            text = "y" * lots.choice((50, 9_000))
            result = _append(tx, memory, ToolResultBody(reply.id, 0, "shell", text, ok=True))
        memory.add([reply, result])
        _compact(store, memory)
        prompt.follow(memory.entries)
        assert encoder.encode(prompt.messages, (), options) == sent(memory), f"after step {step}"
        if step % 10 == 9:
            again = Memory(store, fence)
            again.load(_context_from(store))
            assert sent(again) == sent(memory), f"after step {step}"
    store.close()


def _append(tx: Transaction, memory: Memory, body: Body) -> Entry:
    from store import history

    return history.append(tx, memory.fence, body, now=1.0)


def _compact(store: Store, memory: Memory) -> None:
    mask_to = context.next_mask(memory.entries, ROOM)
    keep_from = context.next_keep_from(memory.entries, ROOM)
    used = context.tokens(memory.entries, characters(memory.entries)) / ROOM
    if mask_to is not None and used >= context.MASK_AT:
        with store.write(memory.fence) as tx:
            rows = memory.mask(tx, mask_to, now=1.0)
        memory.add(rows)
    elif keep_from is not None and used >= context.SUMMARISE_AT:
        with store.write(memory.fence) as tx:
            rows = memory.summarise(tx, written_summary(memory.entries, keep_from), keep_from, now=1.0)
        memory.add(rows)


def _context_from(store: Store) -> int:
    from store import crew

    return int(crew.agent(store, "e").context_from)
