"""The mailbox's rules one by one: order, keys, the table of states, limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from store import inbox
from store.engine import Fence, Store
from store.errors import MailboxFull
from store.inbox import ATTEMPTS, RETRY
from store.rows import Message
from store.states import MessageState
from tests.support.stores import NOW, add_agent, claim_next, instructions, new_incarnation, put


@pytest.fixture
def fence(store: Store) -> Fence:
    add_agent(store, "engineer")
    return new_incarnation(store, "engineer")


def _state(store: Store, message_id: int) -> str:
    row = inbox.get(store, message_id)
    assert row is not None
    return str(row.state)


def _put(store: Store, **values: object) -> int:
    with store.write() as tx:
        return put(tx, "engineer", **values)  # type: ignore[arg-type]  # the columns of a message


def _claimed(store: Store, fence: Fence) -> Message:
    row = claim_next(store, fence)
    assert row is not None
    return row


def test_the_highest_priority_comes_first_and_then_the_oldest(store: Store, fence: Fence) -> None:
    ids = [_put(store, priority=priority) for priority in (50, 10, 90, 50, 90)]
    order = []
    while (row := claim_next(store, fence)) is not None:
        order.append(ids.index(row.id))
    assert order == [2, 4, 0, 3, 1]


def test_age_is_the_order_of_arrival_even_when_the_clock_jumps_back(store: Store, fence: Fence) -> None:
    first, second = _put(store, now=NOW), _put(store, now=NOW - 3600)
    assert [_claimed(store, fence).id, _claimed(store, fence).id] == [first, second]


def test_a_least_priority_hides_what_is_less_pressing(store: Store, fence: Fence) -> None:
    low, urgent = _put(store, priority=50), _put(store, priority=90)
    found = inbox.peek(store, "engineer", now=NOW, least_priority=90)
    assert found is not None
    assert found.id == urgent
    with store.write(fence) as tx:
        inbox.claim(tx, urgent, generation=fence.generation, now=NOW)
    assert inbox.peek(store, "engineer", now=NOW, least_priority=90) is None
    found = inbox.peek(store, "engineer", now=NOW)
    assert found is not None
    assert found.id == low


def test_a_row_comes_back_as_it_was_sent(store: Store, fence: Fence) -> None:
    body = {"kind": "text", "v": 1, "text": 'zwölf ☃ \x00 "quoted" \'; DROP TABLE messages'}
    sent = _put(store, sender="pm", priority=70, key="k", in_reply_to=12, body=body)
    assert inbox.peek(store, "engineer", now=NOW) == Message(
        sent,
        "pm",
        "engineer",
        "text",
        body,
        priority=70,
        state=MessageState.READY,
        attempts=0,
        key="k",
        in_reply_to=12,
        ready_at=NOW,
        claim_generation=None,
        error=None,
        created_at=NOW,
        claimed_at=None,
        handled_at=None,
    )


def test_a_mailbox_shows_nobody_elses_messages(store: Store, fence: Fence) -> None:
    with store.write() as tx:
        put(tx, "engineer-2")
    assert inbox.peek(store, "engineer", now=NOW) is None


# -- keys ----------------------------------------------------------------------------------------


def test_the_same_sender_and_key_again_adds_nothing_and_returns_the_first_id(store: Store) -> None:
    first = _put(store, sender="pm", key="k", body={"n": 1})
    assert _put(store, sender="pm", key="k", body={"n": 2}) == first
    assert [row.body for row in inbox.listed(store)] == [{"n": 1}]


def test_the_same_key_of_another_sender_or_no_key_is_another_message(store: Store) -> None:
    ids = {_put(store, sender="pm", key="k"), _put(store, sender="qa", key="k"), _put(store), _put(store)}
    assert len(ids) == 4


def test_a_key_still_holds_after_its_message_was_handled(store: Store, fence: Fence) -> None:
    first = _put(store, key="k")
    with store.write(fence) as tx:
        inbox.claim(tx, first, generation=1, now=NOW)
        inbox.acknowledge(tx, first, now=NOW)
    assert _put(store, key="k") == first
    assert inbox.peek(store, "engineer", now=NOW) is None


# -- the table of states -------------------------------------------------------------------------


def test_a_message_is_claimed_once(store: Store, fence: Fence) -> None:
    sent = _put(store)
    with store.write(fence) as tx:
        assert inbox.claim(tx, sent, generation=fence.generation, now=NOW)
        assert not inbox.claim(tx, sent, generation=fence.generation, now=NOW)
    assert claim_next(store, fence) is None


def test_acknowledged_is_handled_and_no_longer_claimed(store: Store, fence: Fence) -> None:
    sent = _put(store)
    row = _claimed(store, fence)
    assert [found.id for found in inbox.claimed(store, "engineer")] == [sent]
    with store.write(fence) as tx:
        inbox.acknowledge(tx, row.id, now=NOW)
    assert _state(store, sent) == MessageState.HANDLED
    assert inbox.claimed(store, "engineer") == []


def test_two_failures_pause_the_message_for_a_doubling_time_and_the_third_makes_a_dead_letter(
    store: Store, fence: Fence
) -> None:
    sent = _put(store)
    now = NOW
    for attempt in range(1, ATTEMPTS):
        row = claim_next(store, fence, now=now)
        assert row is not None
        with store.write(fence) as tx:
            state = inbox.record_failure(tx, row, error=f"failure {attempt}", now=now)
        assert state is MessageState.READY
        pause_s = RETRY.first_s * 2 ** (attempt - 1)
        assert inbox.peek(store, "engineer", now=now + pause_s - 0.01) is None
        now += pause_s
    row = claim_next(store, fence, now=now)
    assert row is not None
    assert row.attempts == ATTEMPTS - 1
    with store.write(fence) as tx:
        assert inbox.record_failure(tx, row, error="the last", now=now) is MessageState.DEAD
    assert inbox.peek(store, "engineer", now=now + 1e9) is None
    dead = inbox.listed(store, state=MessageState.DEAD)
    assert [(letter.id, letter.attempts, letter.error) for letter in dead] == [(sent, 3, "the last")]


def test_a_failed_message_lets_those_behind_it_go_first_and_then_comes_again(
    store: Store, fence: Fence
) -> None:
    bad, good = _put(store), _put(store)
    row = _claimed(store, fence)
    with store.write(fence) as tx:
        inbox.record_failure(tx, row, error="x", now=NOW)
    assert _claimed(store, fence).id == good
    later = claim_next(store, fence, now=NOW + RETRY.first_s)
    assert later is not None
    assert later.id == bad


@pytest.mark.parametrize("claimed", [False, True])
def test_a_withdrawn_message_is_cancelled_with_its_reason(store: Store, fence: Fence, claimed: bool) -> None:
    sent = _put(store)
    if claimed:
        _claimed(store, fence)
    with store.write() as tx:
        inbox.withdraw(tx, sent, reason="no longer wanted", now=NOW)
    row = inbox.get(store, sent)
    assert row is not None
    assert (row.state, row.error) == (MessageState.CANCELLED, "no longer wanted")
    assert claim_next(store, fence) is None
    assert inbox.claimed(store, "engineer") == []


@pytest.mark.parametrize("end", [MessageState.HANDLED, MessageState.DEAD, MessageState.CANCELLED])
def test_an_ended_message_stays_ended_whatever_comes_late(
    store: Store, fence: Fence, end: MessageState
) -> None:
    """The table has no row out of HANDLED, DEAD (but a person's revival) or CANCELLED."""
    sent = _put(store)
    row = _claimed(store, fence)
    with store.write(fence) as tx:
        match end:
            case MessageState.HANDLED:
                inbox.acknowledge(tx, sent, now=NOW)
            case MessageState.DEAD:
                inbox.record_failure(tx, replace(row, attempts=ATTEMPTS - 1), error="x", now=NOW)
            case _:
                inbox.withdraw(tx, sent, reason="x", now=NOW)
    with store.write(fence) as tx:
        assert not inbox.claim(tx, sent, generation=fence.generation, now=NOW)
        inbox.acknowledge(tx, sent, now=NOW)
        inbox.withdraw(tx, sent, reason="late", now=NOW)
    assert _state(store, sent) == end
    with store.write(fence) as tx:
        inbox.record_failure(tx, row, error="late", now=NOW)
    assert _state(store, sent) == end


def test_a_ready_message_cannot_be_acknowledged_unclaimed(store: Store, fence: Fence) -> None:
    sent = _put(store)
    with store.write(fence) as tx:
        inbox.acknowledge(tx, sent, now=NOW)
    assert _state(store, sent) == MessageState.READY


def test_a_revived_dead_letter_has_three_fresh_attempts_and_others_cannot_be_revived(
    store: Store, fence: Fence
) -> None:
    sent, other = _put(store), _put(store)
    row = replace(_claimed(store, fence), attempts=ATTEMPTS - 1)
    with store.write(fence) as tx:
        inbox.record_failure(tx, row, error="x", now=NOW)
    with store.write() as tx:
        assert inbox.revive(tx, sent, now=NOW)
        assert not inbox.revive(tx, sent, now=NOW)
        assert not inbox.revive(tx, other, now=NOW)
        assert not inbox.revive(tx, 999, now=NOW)
    revived = inbox.peek(store, "engineer", now=NOW)
    assert revived is not None
    assert (revived.id, revived.attempts) == (sent, 0)


def test_a_new_incarnation_takes_over_the_claims_of_its_agent_alone(store: Store, fence: Fence) -> None:
    add_agent(store, "other")
    other = new_incarnation(store, "other")
    with store.write() as tx:
        theirs = put(tx, "other")
    mine = [_put(store), _put(store)]
    handled = _put(store)
    for _ in range(3):
        _claimed(store, fence)
    claim_next(store, other)
    with store.write(fence) as tx:
        inbox.acknowledge(tx, handled, now=NOW)
    new = new_incarnation(store, "engineer")
    assert [row.id for row in inbox.claimed(store, "engineer")] == mine
    generations = {row.id: row.claim_generation for row in inbox.listed(store)}
    assert generations == {mine[0]: new.generation, mine[1]: new.generation, handled: 1, theirs: 1}


# -- limits and answers --------------------------------------------------------------------------


def test_a_full_mailbox_refuses_with_who_and_what_next_until_one_is_claimed(
    store: Store, fence: Fence
) -> None:
    for _ in range(3):
        _put(store, limit=3)
    with pytest.raises(MailboxFull, match=r"engineer has 3 unread.*nightcrew info engineer"):
        _put(store, limit=3)
    _claimed(store, fence)
    _put(store, limit=3)


def test_a_known_key_is_answered_even_by_a_full_mailbox(store: Store) -> None:
    first = _put(store, key="k", limit=1)
    assert _put(store, key="k", limit=1) == first


def test_answers_are_found_by_what_they_answer_oldest_first(store: Store) -> None:
    question = _put(store)
    with store.write() as tx:
        answers = [put(tx, "human", sender="engineer", in_reply_to=question) for _ in range(2)]
        put(tx, "human", sender="engineer")
    assert [row.id for row in inbox.replies(store, question)] == answers


def test_a_listing_is_newest_first_and_filtered_by_mailbox_and_state(store: Store, fence: Fence) -> None:
    ids = [_put(store) for _ in range(4)]
    _claimed(store, fence)
    with store.write() as tx:
        put(tx, "other")
    ready = inbox.listed(store, recipient="engineer", state=MessageState.READY, most=2)
    assert [row.id for row in ready] == [ids[3], ids[2]]


def test_looking_into_a_mailbox_costs_no_more_after_thousands_of_handled_messages(
    store: Store, fence: Fence
) -> None:
    """Counted in SQLite's own instructions, so that the machine's speed has no say."""

    def costs() -> list[int]:
        return [
            instructions(store, lambda: inbox.peek(store, "engineer", now=NOW)),
            instructions(store, lambda: inbox.claimed(store, "engineer")),
        ]

    _put(store)
    before = costs()
    with store.write() as tx:
        for number in range(3_000):
            handled = put(tx, "engineer", key=str(number))
            inbox.claim(tx, handled, generation=1, now=NOW)
            inbox.acknowledge(tx, handled, now=NOW)
    assert [cost <= 1.1 * first + 100 for cost, first in zip(costs(), before, strict=True)] == [True, True], (
        before,
        costs(),
    )
