"""The inbox, lease and fence protocol against a model: incarnations interleave as kills would have it.

Each step below is one transaction of the real protocol. A kill is simply an incarnation of which no
further step comes; a zombie is one whose steps still come after it was replaced.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import select

from store import crew, history, inbox, schema
from store.engine import Fence, Store
from store.entries import NoteBody
from store.errors import StaleGeneration
from store.inbox import ATTEMPTS
from store.rows import Message
from store.states import MessageState
from tests.support.stores import add_agent, make_file, put

AGENTS = ("a", "b")


class Delivery(RuleBasedStateMachine):
    """What the store must hold is kept beside it in plain Python and compared after every step."""

    incarnations = Bundle("incarnations")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(make_file(Path(self.folder.name) / "crew.db"))
        for agent in AGENTS:
            add_agent(self.store, agent)
        self.now = 0.0
        self.newest = dict.fromkeys(AGENTS, 0)
        self.sent: dict[int, MessageState] = {}
        self.attempts: Counter[int] = Counter()
        self.effects: Counter[int] = Counter()
        self.expected: Counter[int] = Counter()
        self.keys: dict[tuple[str, str], int] = {}
        # What each incarnation holds in its memory, true or out of date: (agent, generation) -> row.
        self.held: dict[Fence, Message] = {}
        self.peeked: dict[Fence, Message] = {}

    def teardown(self) -> None:
        self._finish_everything()
        self.store.close()
        self.folder.cleanup()

    # -- senders -------------------------------------------------------------------------------

    @rule(recipient=st.sampled_from(AGENTS), priority=st.sampled_from([10, 50, 90]))
    def send(self, recipient: str, priority: int) -> None:
        with self.store.write() as tx:
            self.sent[put(tx, recipient, priority=priority, now=self.now)] = MessageState.READY

    @rule(
        recipient=st.sampled_from(AGENTS), key=st.sampled_from(["k", "l"]), sender=st.sampled_from(["x", "y"])
    )
    def send_with_a_key(self, recipient: str, key: str, sender: str) -> None:
        with self.store.write() as tx:
            given = put(tx, recipient, sender=sender, key=key, now=self.now)
        first = self.keys.setdefault((sender, key), given)
        assert given == first
        self.sent.setdefault(given, MessageState.READY)

    # -- incarnations --------------------------------------------------------------------------

    @rule(target=incarnations, agent=st.sampled_from(AGENTS))
    def start(self, agent: str) -> Fence:
        return self._start(agent)

    def _start(self, agent: str) -> Fence:
        """The supervisor raises the generation; the child takes the older claims over."""
        with self.store.write() as tx:
            fence = Fence(agent, crew.next_generation(tx, agent))
        assert fence.generation == self.newest[agent] + 1
        self.newest[agent] = fence.generation
        with self.store.write(fence) as tx:
            inbox.take_over(tx, agent, fence.generation)
        left = inbox.claimed(self.store, agent)
        if left:
            self.held[fence] = left[0]
        return fence

    def _is_newest(self, fence: Fence) -> bool:
        return self.newest[fence.agent] == fence.generation

    @rule(fence=incarnations)
    def look(self, fence: Fence) -> None:
        """A plain read, as good from a zombie; what it saw may be stale when it is claimed."""
        row = inbox.peek(self.store, fence.agent, now=self.now)
        if row is not None:
            self.peeked[fence] = row
        else:
            self.peeked.pop(fence, None)

    @rule(fence=incarnations)
    def claim(self, fence: Fence) -> None:
        row = self.peeked.pop(fence, None)
        if row is None or fence in self.held:
            return
        if not self._is_newest(fence):
            self._is_refused(
                fence, lambda tx: inbox.claim(tx, row.id, generation=fence.generation, now=self.now)
            )
            return
        self._claim(fence, row)

    def _claim(self, fence: Fence, row: Message) -> None:
        with self.store.write(fence) as tx:
            taken = inbox.claim(tx, row.id, generation=fence.generation, now=self.now)
        assert taken == (self.sent[row.id] is MessageState.READY)
        if taken:
            self.sent[row.id] = MessageState.CLAIMED
            self.held[fence] = row

    @rule(fence=incarnations, reply=st.booleans(), go_on=st.booleans())
    def finish(self, fence: Fence, reply: bool, go_on: bool) -> None:
        """Effects, an outgoing message, the acknowledgement and perhaps the next claim in one transaction."""
        row = self.held.get(fence)
        if row is None:
            return
        if not self._is_newest(fence):
            self._is_refused(fence, lambda tx: self._effects(tx, fence, row))
            return
        self._finish(fence, row, reply=reply, go_on=go_on)

    def _finish(self, fence: Fence, row: Message, *, reply: bool, go_on: bool = False) -> None:
        answer, following = None, None
        with self.store.write(fence) as tx:
            self._effects(tx, fence, row)
            if reply:
                answer = put(tx, row.sender, sender=fence.agent, in_reply_to=row.id, now=self.now)
            if go_on:
                following = inbox.claim_next(tx, fence.agent, fence.generation, now=self.now)
        del self.held[fence]
        self.sent[row.id] = MessageState.HANDLED
        self.expected[row.id] += 1
        assert self.expected[row.id] == 1, "handled twice"
        if answer is not None:
            self.sent[answer] = MessageState.READY
        if following is not None:
            assert self.sent[following.id] is MessageState.READY
            self.sent[following.id] = MessageState.CLAIMED
            self.held[fence] = following

    def _effects(self, tx: Any, fence: Fence, row: Message) -> None:
        history.append(tx, fence, NoteBody(f"handled {row.id}"), now=self.now, message=row.id)
        inbox.acknowledge(tx, row.id, now=self.now)

    @rule(fence=incarnations)
    def fail(self, fence: Fence) -> None:
        row = self.held.get(fence)
        if row is None:
            return
        if not self._is_newest(fence):
            self._is_refused(fence, lambda tx: inbox.record_failure(tx, row, error="x", now=self.now))
            return
        with self.store.write(fence) as tx:
            state = inbox.record_failure(tx, row, error="x", now=self.now)
        del self.held[fence]
        self.attempts[row.id] += 1
        dead = self.attempts[row.id] >= ATTEMPTS
        assert state is (MessageState.DEAD if dead else MessageState.READY)
        self.sent[row.id] = state

    @rule(fence=incarnations)
    def die_half_way(self, fence: Fence) -> None:
        """A kill between the effects and the commit: as if nothing had been done."""
        row = self.held.get(fence)
        if row is None or not self._is_newest(fence):
            return
        with pytest.raises(KeyboardInterrupt):
            self._interrupted(fence, row)

    def _interrupted(self, fence: Fence, row: Message) -> None:
        with self.store.write(fence) as tx:
            self._effects(tx, fence, row)
            raise KeyboardInterrupt

    def _is_refused(self, fence: Fence, write: Any) -> None:
        """A zombie writes: refused, and then it is gone."""
        with pytest.raises(StaleGeneration), self.store.write(fence) as tx:
            write(tx)
        self.held.pop(fence, None)

    # -- the world -----------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 1.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: any(s is MessageState.DEAD for s in self.sent.values()))
    @rule(data=st.data())
    def revive(self, data: st.DataObject) -> None:
        dead = sorted(i for i, s in self.sent.items() if s is MessageState.DEAD)
        chosen = data.draw(st.sampled_from(dead))
        with self.store.write() as tx:
            assert inbox.revive(tx, chosen, now=self.now)
        self.sent[chosen] = MessageState.READY
        self.attempts[chosen] = 0

    @rule()
    def reopen(self) -> None:
        """Every process was killed: what is in the file is all there is."""
        self.store.close()
        self.store = Store(self.store.path)

    # -- what must always hold -----------------------------------------------------------------

    @invariant()
    def nothing_is_lost_and_every_state_is_the_models(self) -> None:
        rows = inbox.listed(self.store, most=100_000)
        assert {row.id: row.state for row in rows} == {i: s.value for i, s in self.sent.items()}

    @invariant()
    def no_effect_is_there_twice_or_without_its_acknowledgement(self) -> None:
        messages = self.store.select(select(schema.history.c.message), int)
        assert Counter(messages) == self.expected

    @invariant()
    def a_claim_belongs_to_an_incarnation_of_its_recipient_and_agents_hold_what_they_think(self) -> None:
        for agent in AGENTS:
            newest = Fence(agent, self.newest[agent])
            held = self.held.get(newest)
            if held is not None:
                assert held.id in [row.id for row in inbox.claimed(self.store, agent)]

    def _finish_everything(self) -> None:
        """From any state, one last incarnation of each agent handles all that is left, each once."""
        for agent in AGENTS:
            fence = self._start(agent)
            self.now += 3600.0
            for row in inbox.claimed(self.store, agent):
                self.held[fence] = row
                self._finish(fence, row, reply=False)
            while (found := inbox.peek(self.store, agent, now=self.now)) is not None:
                self._claim(fence, found)
                self._finish(fence, found, reply=False)
        open_ones = {i for i, s in self.sent.items() if s in (MessageState.READY, MessageState.CLAIMED)}
        addressed = {
            row.id for agent in AGENTS for row in inbox.listed(self.store, recipient=agent, most=10**6)
        }
        assert not open_ones & addressed, "a message was lost"
        self.no_effect_is_there_twice_or_without_its_acknowledgement()


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
