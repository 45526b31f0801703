"""What can go wrong between an agent and its model, and what the agent does about it.

ModelError
├── ModelUnavailable    server down, busy, hung or died: wait with backoff and ask again (no crash)
├── ReplyMalformed      the answer was cut or unreadable: ask again with another seed and a hint
├── RequestRefused      the same request can never succeed: stop and say why
│   ├── ModelMissing    the host does not have the model: pull it
│   └── PromptTooLong   the prompt does not fit the window: compact, then ask again
└── ModelCancelled      we closed the stream ourselves (pause, cancel, steer)

ScriptError             a rehearsal's script file cannot be used; raised at start, never in a turn
"""

from __future__ import annotations


class ModelError(Exception):
    """The model gave no usable answer."""

    def __init__(self, message: str, *, host: str = "", model: str = "", status: int | None = None) -> None:
        """`status` is the HTTP status, None where the failure has none (no connection, cut stream)."""
        super().__init__(message)
        self.host = host
        self.model = model
        self.status = status


class ModelUnavailable(ModelError):
    """The server is down, busy, hung, or died while it answered. An outage: retry with backoff."""


class ReplyMalformed(ModelError):
    """The answer was no whole, readable reply. Identical requests fail alike: vary seed or prompt."""

    def __init__(
        self,
        message: str,
        *,
        host: str = "",
        model: str = "",
        status: int | None = None,
        partial_text: str = "",
    ) -> None:
        """`partial_text` is what had been streamed when the reply broke."""
        super().__init__(message, host=host, model=model, status=status)
        self.partial_text = partial_text


class RequestRefused(ModelError):
    """The server refuses this request and would refuse it again. Abort."""


class ModelMissing(RequestRefused):
    """The host does not have the model. `nightcrew doctor --pull` gets it."""


class PromptTooLong(RequestRefused):
    """The prompt does not fit the context window; nothing was cut. Compact and ask again."""


class ModelCancelled(ModelError):
    """The request was cancelled on our side and its stream closed."""


class ScriptError(Exception):
    """A rehearsal script cannot be read; the message says where, what and what is allowed."""
