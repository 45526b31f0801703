"""Every kind of message survives its row, and what is no message is refused with where."""

from __future__ import annotations

import contextlib
import json
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.errors import MessageUndecodable
from actors.runtime import messages
from actors.runtime.addresses import Priority
from actors.runtime.messages import AnyMessage, Message, Text

KINDS: tuple[type[Message], ...] = get_args(get_args(AnyMessage)[0])


def _any(kind: type[Message]) -> st.SearchStrategy[Message]:
    return st.from_type(kind)


def test_every_message_class_of_the_module_is_in_the_union() -> None:
    declared = {
        thing
        for thing in vars(messages).values()
        if isinstance(thing, type) and issubclass(thing, Message) and thing is not Message
    }
    assert declared == set(KINDS)


def test_no_two_messages_share_a_kind() -> None:
    kinds = [kind.model_fields["kind"].default for kind in KINDS]
    assert len(set(kinds)) == len(kinds) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_message_comes_back_from_its_rows_json_as_it_was(kind: type[Message], data: st.DataObject) -> None:
    message: Any = data.draw(_any(kind))
    body = json.loads(json.dumps(messages.encode(message), allow_nan=True))
    again = messages.decode(body)
    assert type(again) is kind
    assert again == message or "nan" in repr(message)
    assert (body["kind"], body["v"]) == (message.kind, 1)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "text"},
        {"kind": "no_such_kind", "v": 1, "text": "a"},
        {"kind": "text", "v": 2, "text": "a"},
        {"kind": "text", "v": 1, "text": 5},
        {"kind": "text", "v": 1, "text": "a", "more": 1},
        {"kind": "task_assigned", "v": 1, "task": "x"},
        {"kind": None},
    ],
)
def test_what_is_no_message_is_undecodable_and_says_its_kind(body: dict[str, Any]) -> None:
    with pytest.raises(MessageUndecodable, match=rf"kind {body.get('kind')!r}"):
        messages.decode(body)


@given(body=st.dictionaries(st.text(), st.one_of(st.none(), st.integers(), st.text(), st.lists(st.text()))))
def test_no_json_whatever_makes_decoding_fail_otherwise(body: dict[str, Any]) -> None:
    with contextlib.suppress(MessageUndecodable):
        messages.decode(body)


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Text(text="a").text = "b"  # type: ignore[misc]  # that is the claim


def test_control_goes_before_urgent_and_urgent_before_the_rest() -> None:
    assert sorted(Priority) == [10, 50, 70, 90, 100]
    assert Priority.CONTROL > Priority.URGENT > Priority.HIGH > Priority.NORMAL > Priority.LOW
