"""What can go wrong in an actor, as one tree.

ActorError
|-- MessageUndecodable   a row's body is no message of a known kind and version
|-- MessageUnexpected    a message of a kind that this actor does not handle
|-- RouteRefused         this sender may not write to that recipient
|-- RecipientUnknown     there is no such address
`-- ActorLocked          another process still holds this actor's lock
"""

from __future__ import annotations


class ActorError(Exception):
    """An actor refused or failed at something."""


class MessageUndecodable(ActorError):
    """The body is no message of a known kind and version."""


class MessageUnexpected(ActorError):
    """This actor does not handle messages of that kind."""


class RouteRefused(ActorError):
    """This sender may not write to that recipient."""


class RecipientUnknown(ActorError):
    """There is no such address."""


class ActorLocked(ActorError):
    """Another process still holds this actor's lock."""


class Interrupted(ActorError):
    """The process was asked to stop in the middle of the work; the message stays claimed."""
