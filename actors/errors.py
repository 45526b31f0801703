"""The errors of actors, and the base of the errors of what they work with.

NightcrewError               `store/errors.py`
|-- ActorError
|   |-- MessageUndecodable   the body of a message has an unknown kind or version
|   |-- MessageUnexpected    this actor does not handle messages of that kind
|   |-- RouteRefused         this sender may not write to that recipient
|   |-- RecipientUnknown     there is no such address
|   |-- ActorLocked          another process holds this actor's lock
|   |-- Interrupted          the process was asked to stop; the message stays claimed
|   |-- RoleError            a role is unknown or its file is invalid
|   |-- SetupFailed          `actors/environment/setup/result.py`
|   `-- ToolRefused          a tool rejects its input; the model reads why
`-- InfrastructureError      what an actor works with failed: usually temporary, so the message is retried
    |-- GitError             `actors/git/errors.py`
    |-- WorkspaceError       `actors/git/errors.py`
    |-- LockTimeoutError     `actors/git/errors.py`
    `-- SandboxError         `actors/sandbox/errors.py`
"""

from __future__ import annotations

from store.errors import NightcrewError


class ActorError(NightcrewError):
    """The base of an actor's errors."""


class InfrastructureError(NightcrewError):
    """Git, a lock or the sandbox failed. Usually temporary: the actor retries the message for ten minutes."""


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
