"""Sends messages, and holds the rules of who may write to whom.

Does not import pydantic, because `nightcrew send` must start quickly and only sends text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.errors import RecipientUnknown, RouteRefused
from actors.runtime.addresses import HUMAN, ORCHESTRATOR, SUPERVISOR, TIMER, TMUX, Priority
from store import crew, inbox
from store.engine import Store, Transaction
from store.rows import Agent

if TYPE_CHECKING:
    from actors.runtime.messages import AnyMessage

SERVICES = frozenset({SUPERVISOR, TIMER, TMUX})


def post(
    tx: Transaction,
    sender: str,
    recipient: str,
    message: AnyMessage,
    *,
    now: float,
    priority: int = Priority.NORMAL,
    key: str | None = None,
    in_reply_to: int | None = None,
    limit: int | None = None,
) -> int:
    """Append a message in the caller's transaction; the recipient is woken after the commit.

    Used by code, so the rules of `may_write` are not checked. Returns the message's id.
    """
    body = message.model_dump(mode="json")
    return inbox.append(
        tx,
        sender=sender,
        recipient=recipient,
        kind=message.kind,
        body=body,
        priority=int(priority),
        now=now,
        key=key,
        in_reply_to=in_reply_to,
        limit=limit,
    )


def send(
    store: Store,
    sender: str,
    recipient: str,
    message: AnyMessage,
    *,
    now: float,
    priority: int = Priority.NORMAL,
    key: str | None = None,
) -> int:
    """Send a message in a transaction of its own and wake the recipient. Returns the message's id.

    Raises `RecipientUnknown`, `RouteRefused` or `store.errors.MailboxFull`.
    """
    body = message.model_dump(mode="json")
    return _send(store, sender, recipient, message.kind, body, now=now, priority=priority, key=key)


def send_text(
    store: Store,
    sender: str,
    recipient: str,
    text: str,
    *,
    now: float,
    priority: int = Priority.NORMAL,
    key: str | None = None,
) -> int:
    """Send a `messages.Text` without importing its class; otherwise as `send`."""
    body = {"v": 1, "kind": "text", "text": text}
    return _send(store, sender, recipient, "text", body, now=now, priority=priority, key=key)


def _send(store: Store, sender: str, recipient: str, kind: str, body: dict[str, Any], **values: Any) -> int:
    with store.write() as tx:
        check_route(tx, sender, recipient)
        return inbox.append(
            tx,
            sender=sender,
            recipient=recipient,
            kind=kind,
            body=body,
            limit=inbox.MAILBOX_LIMIT,
            **values,
        )


def check_route(source: Store | Transaction, sender: str, recipient: str) -> None:
    """Raise unless `sender` may write to `recipient`; see `may_write` for the rule."""
    if recipient == HUMAN or (sender == HUMAN and recipient in SERVICES):
        return
    target = crew.find_agent(source, recipient)
    if target is None:
        raise RecipientUnknown(f"there is no agent {recipient}")
    if sender == HUMAN:
        return
    origin = crew.find_agent(source, sender)
    if origin is None:
        raise RecipientUnknown(f"there is no agent {sender}")
    if not may_write(origin, target):
        raise RouteRefused(f"{sender} may not write to {recipient}; write to your manager instead")


def may_write(source: Agent, target: Agent) -> bool:
    """Whether `source` may write to `target`: hub and spoke, by role and project.

    | from            | to                                                         |
    |-----------------|------------------------------------------------------------|
    | orchestrator    | any manager                                                |
    | project_manager | the orchestrator, its own team                             |
    | team member     | its own manager, or the orchestrator directly (escalation) |
    """
    source_role, target_role = source.role, target.role
    same_project = source.project == target.project and source.project is not None
    if source_role == ORCHESTRATOR:
        return bool(target_role == "project_manager")
    if source_role == "project_manager":
        return target_role == ORCHESTRATOR or (same_project and target.name != source.name)
    return target_role == ORCHESTRATOR or (same_project and target_role == "project_manager")
