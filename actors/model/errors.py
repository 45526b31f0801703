"""The errors of a model request. Each stands for one reaction of the agent.

NightcrewError                  `store/errors.py`
└── ModelError
    ├── ModelUnavailable    server down, busy or hung, or its runner died: wait with backoff, then ask again
    ├── ReplyMalformed      the reply was cut off or unreadable: ask again with another seed
    ├── RequestRefused      the same request can never succeed: a person must act
    │   ├── ModelMissing    the host does not have the model: pull it
    │   └── PromptTooLong   the prompt does not fit the context window: compact it, then ask again
    └── ModelCancelled      the agent cancelled the request itself (pause, cancel, urgent message)
"""

from __future__ import annotations

from store.errors import NightcrewError


class ModelError(NightcrewError):
    """A request to a model failed."""

    def __init__(self, message: str, *, host: str = "", model: str = "", status: int | None = None) -> None:
        """`status` is the HTTP status; None if there is none (no connection, error inside a stream)."""
        super().__init__(message)
        self.host = host
        self.model = model
        self.status = status


class ModelUnavailable(ModelError):
    """The server is down, busy or hung, or failed during its reply. Retry with backoff."""


class ReplyMalformed(ModelError):
    """The reply was incomplete or unreadable. An identical request fails again: vary the seed or the prompt."""

    def __init__(
        self,
        message: str,
        *,
        host: str = "",
        model: str = "",
        status: int | None = None,
        partial_text: str = "",
    ) -> None:
        """`partial_text` is the text that was received before the reply broke."""
        super().__init__(message, host=host, model=model, status=status)
        self.partial_text = partial_text


class RequestRefused(ModelError):
    """The server refuses this request and would refuse it again. Do not retry."""


class ModelMissing(RequestRefused):
    """The host does not have the model. `nightcrew doctor --pull` downloads it."""


class PromptTooLong(RequestRefused):
    """The prompt does not fit the context window, and the server dropped nothing. Compact it and retry."""


class ModelCancelled(ModelError):
    """The caller cancelled the request, and the connection was closed."""
