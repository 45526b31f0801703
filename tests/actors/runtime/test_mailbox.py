"""Who may write to whom, as a matrix; and sending as one committed insert."""

from __future__ import annotations

from itertools import product

import pytest

from actors.errors import ActorError, RecipientUnknown, RouteRefused
from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN
from actors.runtime.messages import Text
from store import inbox
from store.engine import Store
from store.errors import MailboxFull
from store.states import Role
from tests.support.stores import NOW, add_agent, add_project, message

# Two projects with a manager, an engineer and a tester each, and the orchestrator. Who may write to whom:
ALLOWED = {
    "orchestrator": {"pm.a", "pm.b", HUMAN},
    "pm.a": {"orchestrator", "engineer-1.a", "qa.a", HUMAN},
    "pm.b": {"orchestrator", "engineer-1.b", "qa.b", HUMAN},
    "engineer-1.a": {"pm.a", "orchestrator", HUMAN},
    "engineer-1.b": {"pm.b", "orchestrator", HUMAN},
    "qa.a": {"pm.a", "orchestrator", HUMAN},
    "qa.b": {"pm.b", "orchestrator", HUMAN},
    HUMAN: {
        *("orchestrator", "pm.a", "pm.b", "engineer-1.a", "engineer-1.b", "qa.a", "qa.b", HUMAN),
        *("supervisor", "timer", "tmux"),
    },
}
ROLES = {"pm": Role.PROJECT_MANAGER, "engineer-1": Role.ENGINEER, "qa": Role.QA}
ADDRESSES = sorted({*ALLOWED, "supervisor", "timer", "tmux"})


@pytest.fixture(autouse=True)
def _crew(store: Store) -> None:
    add_agent(store, "orchestrator", role=Role.ORCHESTRATOR)
    for service in ("timer", "tmux"):
        add_agent(store, service)
    for project in ("a", "b"):
        add_project(store, project)
        for short, role in ROLES.items():
            add_agent(store, f"{short}.{project}", role=role, project=project)


@pytest.mark.parametrize(("sender", "recipient"), list(product(sorted(ALLOWED), ADDRESSES)))
def test_a_route_is_open_only_as_the_matrix_says(store: Store, sender: str, recipient: str) -> None:
    if recipient in ALLOWED[sender]:
        mailbox.send(store, sender, recipient, Text(text="hello"), now=NOW)
        assert len(inbox.listed(store, recipient=recipient)) == 1
    else:
        with pytest.raises(ActorError):
            mailbox.send(store, sender, recipient, Text(text="hello"), now=NOW)
        assert inbox.listed(store) == []


def test_a_refused_route_says_who_to_write_to_instead(store: Store) -> None:
    with pytest.raises(RouteRefused, match=r"engineer-1.a may not write to qa.a; write to your manager"):
        mailbox.send(store, "engineer-1.a", "qa.a", Text(text=""), now=NOW)


@pytest.mark.parametrize(("sender", "recipient"), [(HUMAN, "nobody"), ("nobody", "pm.a"), ("pm.a", "nobody")])
def test_an_address_that_there_is_not_is_refused(store: Store, sender: str, recipient: str) -> None:
    with pytest.raises(RecipientUnknown, match="no agent nobody"):
        mailbox.send(store, sender, recipient, Text(text=""), now=NOW)


def test_a_full_mailbox_refuses_the_sender(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAILBOX_LIMIT", 2)
    for _ in range(2):
        mailbox.send(store, HUMAN, "pm.a", Text(text=""), now=NOW)
    with pytest.raises(MailboxFull):
        mailbox.send(store, HUMAN, "pm.a", Text(text=""), now=NOW)


def test_a_send_with_a_key_is_sent_once(store: Store) -> None:
    ids = {mailbox.send(store, HUMAN, "pm.a", Text(text="x"), now=NOW, key="k") for _ in range(3)}
    assert len(ids) == 1
    assert len(inbox.listed(store)) == 1


def test_a_text_sent_without_its_class_is_the_same_message(store: Store) -> None:
    light = mailbox.send_text(store, HUMAN, "pm.a", "hello", now=NOW)
    full = mailbox.send(store, HUMAN, "pm.a", Text(text="hello"), now=NOW)
    rows = [message(store, sent) for sent in (light, full)]
    assert [(row.kind, row.body, row.priority) for row in rows] == [
        ("text", {"v": 1, "kind": "text", "text": "hello"}, 50)
    ] * 2
