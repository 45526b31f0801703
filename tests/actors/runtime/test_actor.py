"""The base actor: claim, decode, handle, commit; failures, dead letters, and the fence."""

from __future__ import annotations

import select

import pytest

from actors import errors
from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN
from actors.runtime.context import Effects, nothing
from actors.runtime.handler import MessageActor
from actors.runtime.messages import AnyMessage, Text
from actors.runtime.wake import WakeSocket
from store import inbox, incidents
from store.engine import Store
from store.errors import StoreUnwritable
from store.rows import Message
from store.states import MessageState
from tests.actors.conftest import Stage, Start
from tests.support.kinds import Obedient
from tests.support.stores import NOW, add_agent, claim_next, message, new_incarnation, put


def _tell(store: Store, words: str, *, sender: str = HUMAN, **values: int) -> int:
    with store.write() as tx:
        return mailbox.post(tx, sender, "a", Text(text=words), now=NOW, **values)  # type: ignore[arg-type]


def _letters(store: Store, recipient: str) -> list[tuple[int, str]]:
    found = inbox.listed(store, recipient=recipient)
    return [(m.body["message"], m.body["error"]) for m in found if m.kind == "dead_letter"]


def _state(store: Store, message_id: int) -> str:
    return message(store, message_id).state


def test_a_message_is_handled_and_its_effects_and_acknowledgement_are_one_commit(
    stage: Stage, start: Start
) -> None:
    started = start(Obedient, "a")
    sent = _tell(stage.store, "say hello")
    started.drain()
    assert _state(stage.store, sent) == MessageState.HANDLED
    assert [row.body["text"] for row in inbox.replies(stage.store, sent)] == ["hello"]


def test_messages_are_handled_by_priority_and_then_by_age(stage: Stage, start: Start) -> None:
    started = start(Obedient, "a")
    for words, priority in (("say 1", 50), ("say 2", 10), ("say 3", 90), ("say 4", 50)):
        _tell(stage.store, words, priority=priority)
    started.drain()
    answers = [row.body["text"] for row in reversed(inbox.listed(stage.store, recipient=HUMAN))]
    assert answers == ["3", "1", "4", "2"]


def test_a_handler_that_raises_three_times_makes_a_dead_letter_and_sender_and_human_are_told(
    stage: Stage, start: Start
) -> None:
    add_agent(stage.store, "pm")
    started = start(Obedient, "a")
    sent = _tell(stage.store, "raise", sender="pm")
    for attempt in (1, 2, 3):
        started.drain()
        expected = MessageState.DEAD if attempt == 3 else MessageState.READY
        assert (_state(stage.store, sent), attempt) == (expected, attempt)
        started.clock.now += 10
    reason = "RuntimeError: requested failure of attempt 3"
    assert _letters(stage.store, "pm") == _letters(stage.store, HUMAN) == [(sent, reason)]
    (incident,) = incidents.listed(stage.store)
    assert (incident.kind, incident.agent, incident.needs_human) == ("dead_letter", "a", True)


def test_the_human_who_sent_a_dead_letter_is_told_once(stage: Stage, start: Start) -> None:
    started = start(Obedient, "a")
    sent = _tell(stage.store, "raise")
    for _ in range(3):
        started.drain()
        started.clock.now += 10
    assert len(_letters(stage.store, HUMAN)) == 1
    assert _state(stage.store, sent) == MessageState.DEAD


def test_a_failing_message_does_not_hold_up_those_behind_it(stage: Stage, start: Start) -> None:
    started = start(Obedient, "a")
    _tell(stage.store, "raise")
    good = _tell(stage.store, "say on we go")
    started.drain()
    assert _state(stage.store, good) == MessageState.HANDLED


def test_a_body_that_cannot_be_decoded_is_a_dead_letter_at_once(stage: Stage, start: Start) -> None:
    started = start(Obedient, "a")
    with stage.store.write() as tx:
        sent = put(tx, "a", body={"kind": "from_the_future", "v": 7})
    started.drain()
    assert _state(stage.store, sent) == MessageState.DEAD
    assert [message for message, _ in _letters(stage.store, HUMAN)] == [sent]


def test_a_message_of_a_kind_that_the_actor_does_not_handle_becomes_a_dead_letter(
    stage: Stage, start: Start
) -> None:
    started = start(MessageActor, "a")
    sent = _tell(stage.store, "hello")
    for _ in range(3):
        started.drain()
        started.clock.now += 10
    assert _state(stage.store, sent) == MessageState.DEAD


def test_a_dead_letter_about_a_dead_letter_goes_to_the_human_alone(stage: Stage, start: Start) -> None:
    add_agent(stage.store, "pm")
    started = start(Obedient, "a")
    with stage.store.write() as tx:
        put(tx, "a", sender="pm", kind="dead_letter", body={"kind": "dead_letter", "v": 99})
    started.drain()
    assert _letters(stage.store, "pm") == []
    assert len(_letters(stage.store, HUMAN)) == 1


def test_a_failed_message_is_looked_for_again_when_its_pause_is_over_and_not_a_poll_later(
    stage: Stage, start: Start
) -> None:
    started = start(Obedient, "a")
    _tell(stage.store, "raise")
    started.drain()
    look_again_s = started.runtime.coupling.next_wake_at - started.clock.now
    assert look_again_s <= inbox.RETRY.first_s + 0.1


def test_a_message_claimed_by_an_older_incarnation_is_handled_first(stage: Stage, start: Start) -> None:
    add_agent(stage.store, "a")
    old = new_incarnation(stage.store, "a")
    claimed = _tell(stage.store, "say claimed", priority=10)
    assert claim_next(stage.store, old) is not None
    _tell(stage.store, "say later", priority=90)
    started = start(Obedient, "a")
    started.drain()
    assert _state(stage.store, claimed) == MessageState.HANDLED
    answers = [row.body["text"] for row in reversed(inbox.listed(stage.store, recipient=HUMAN))]
    assert answers == ["claimed", "later"]


def test_a_replaced_incarnation_writes_nothing_and_asks_to_be_ended(stage: Stage, start: Start) -> None:
    zombie = start(Obedient, "a")
    new_incarnation(stage.store, "a")
    sent = _tell(stage.store, "say I am still here")
    zombie.drain()
    assert zombie.runtime.coupling.stopping.is_set()
    assert _state(stage.store, sent) == MessageState.READY
    assert inbox.listed(stage.store, recipient=HUMAN) == []


class Unwritable(MessageActor):
    """Its effects find a full disk until `room` is there."""

    room = False

    def handle(self, message: AnyMessage, row: Message) -> Effects:
        if not type(self).room:
            raise StoreUnwritable("the disk is full")
        return nothing


def test_a_full_disk_is_no_failure_of_the_message_which_is_handled_when_there_is_room(
    stage: Stage, start: Start
) -> None:
    Unwritable.room = False
    started = start(Unwritable, "a")
    sent = _tell(stage.store, "hello")
    for _ in range(5):
        started.drain()
        started.clock.now += 10
    row = inbox.get(stage.store, sent)
    assert row is not None
    assert (row.state, row.attempts) == (MessageState.CLAIMED, 0)
    Unwritable.room = True
    started.drain()
    assert _state(stage.store, sent) == MessageState.HANDLED


def test_a_claim_is_not_forgotten_when_the_look_for_it_fails(
    stage: Stage, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_agent(stage.store, "a")
    sent = _tell(stage.store, "say hello")
    assert claim_next(stage.store, new_incarnation(stage.store, "a")) is not None
    started = start(Obedient, "a")
    real = inbox.claimed

    def unreadable(*_arguments: object) -> list[Message]:
        monkeypatch.setattr(inbox, "claimed", real)
        raise StoreUnwritable("disk I/O error")

    monkeypatch.setattr(inbox, "claimed", unreadable)
    started.drain()
    assert _state(stage.store, sent) == MessageState.CLAIMED
    started.drain()
    assert _state(stage.store, sent) == MessageState.HANDLED


def test_a_stopped_actor_takes_no_further_message(stage: Stage, start: Start) -> None:
    started = start(Obedient, "a")
    sent = _tell(stage.store, "say hello")
    for _ in range(2):
        started.runtime.coupling.stop()
    started.drain()
    assert _state(stage.store, sent) == MessageState.READY


def test_in_a_busy_mailbox_the_next_message_is_claimed_with_the_acknowledgement(
    stage: Stage, start: Start
) -> None:
    started = start(Obedient, "a")
    first, second = _tell(stage.store, "say 1"), _tell(stage.store, "say 2", priority=10)
    commits: list[str] = []
    with stage.store.write() as tx:
        tx.driver.set_trace_callback(commits.append)
    commits.clear()
    started.drain()
    assert [_state(stage.store, sent) for sent in (first, second)] == [MessageState.HANDLED] * 2
    # One for the first claim, then one a message.
    assert commits.count("COMMIT") == 3


def test_whoever_has_mail_is_woken_by_an_actor_that_starts_for_it_may_have_been_killed_before_it_could(
    stage: Stage, start: Start
) -> None:
    add_agent(stage.store, "b")
    silent = Store(stage.home.store)  # without a waker: as by one that was killed after its commit
    with silent.write() as tx:
        mailbox.post(tx, "a", "b", Text(text="say hello"), now=NOW)
    silent.close()
    listening = WakeSocket(stage.home.run, "b")
    start(Obedient, "a")
    assert select.select([listening], [], [], 5)[0]
    listening.close()


class Stopping(Obedient):
    """Is asked to end while it handles its first message."""

    def handle(self, message: AnyMessage, row: Message) -> Effects:
        self.coupling.stop()
        return super().handle(message, row)


def test_what_was_claimed_ahead_by_an_actor_that_was_stopped_is_handled_first_by_the_next(
    stage: Stage, start: Start
) -> None:
    stopped = start(Stopping, "a")
    sent = [_tell(stage.store, f"say {n}") for n in (1, 2)]
    stopped.drain()
    assert [_state(stage.store, one) for one in sent] == [MessageState.HANDLED, MessageState.CLAIMED]
    _tell(stage.store, "say 3", priority=90)
    start(Obedient, "a").drain()
    answers = [row.body["text"] for row in reversed(inbox.listed(stage.store, recipient=HUMAN))]
    assert answers == ["1", "2", "3"]


class Interrupted(Obedient):
    """Is interrupted once, in its first message."""

    interruptions = 1

    def handle(self, message: AnyMessage, row: Message) -> Effects:
        if type(self).interruptions:
            type(self).interruptions -= 1
            raise errors.Interrupted("something pressing")
        return super().handle(message, row)


def test_an_interrupted_message_is_taken_up_again_before_others(stage: Stage, start: Start) -> None:
    Interrupted.interruptions = 1
    started = start(Interrupted, "a")
    sent = _tell(stage.store, "say 1")
    started.drain()
    assert _state(stage.store, sent) == MessageState.CLAIMED
    _tell(stage.store, "say 2")
    started.drain()
    answers = [row.body["text"] for row in reversed(inbox.listed(stage.store, recipient=HUMAN))]
    assert answers == ["1", "2"]


def test_the_home_is_private_to_the_user(stage: Stage) -> None:
    for folder in (stage.home.path, stage.home.run, stage.home.locks, stage.home.logs, stage.home.windows):
        assert folder.stat().st_mode & 0o777 == 0o700
