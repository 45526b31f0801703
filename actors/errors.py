"""Errors of actors.

ActorError
|-- MessageUndecodable   the body of a message has an unknown kind or version
|-- MessageUnexpected    this actor does not handle messages of that kind
|-- RouteRefused         this sender may not write to that recipient
|-- RecipientUnknown     there is no such address
|-- ActorLocked          another process holds this actor's lock
`-- Interrupted          the process was asked to stop during the work
"""

from __future__ import annotations


class ActorError(Exception):
    """The root of an actor's errors."""


class MessageUndecodable(ActorError):
    """The body of a message has an unknown kind or version."""


class MessageUnexpected(ActorError):
    """This actor does not handle messages of that kind."""


class RouteRefused(ActorError):
    """This sender may not write to that recipient."""


class RecipientUnknown(ActorError):
    """There is no such address."""


class ActorLocked(ActorError):
    """Another process holds this actor's lock."""


class Interrupted(ActorError):
    """The process was asked to stop during the work. The message stays claimed."""
