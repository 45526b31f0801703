"""The values exchanged with a model: messages, tools and options go in, a `Reply` comes out.

None of them depends on a server's format; `wire.py` translates them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

ParameterType = Literal["string", "integer", "number", "boolean"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool. Of a simple type: nested schemas break the model and its prefix cache."""

    name: str
    type: ParameterType
    description: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it."""

    name: str
    description: str
    parameters: tuple[Parameter, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The element of Ollama's `tools` list. The same bytes every time, for the prefix cache.

        A property has one key besides its type: Ollama renders several in random order.
        """
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {
                    "type": "object",
                    "required": [p.name for p in self.parameters if p.required],
                    "properties": {
                        p.name: {"type": p.type, "description": p.description} for p in self.parameters
                    },
                },
            },
        }


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call as the model wrote it. `parsing.calls.extract` checks it and converts its arguments."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of the prompt. Tool results have no name or id: the model's template keeps only their order."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Model and sampling of one request. Another `context_window` (tokens) than before reloads the model."""

    model: str
    context_window: int = 32_768
    max_tokens: int = 4_096
    temperature: float = 0.7
    top_p: float = 0.8
    top_k: int = 20
    repeat_penalty: float = 1.05
    seed: int | None = None
    keep_alive: str = "30m"


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits of a request: for connecting, until the first chunk, between chunks, and in total."""

    connect_s: float = 5.0
    first_token_s: float = 600.0
    idle_s: float = 120.0
    total_s: float = 1_800.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What the server reports about one request; None for what it does not report."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    generated_tokens: int | None = None
    load_ms: float | None = None
    prefill_ms: float | None = None
    generation_ms: float | None = None
    total_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply: its text, and the tool calls that the server parsed."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    done_reason: str = "stop"
    cost: Cost = field(default_factory=Cost)
