"""What an agent and a model say to each other, free of any server's types.

One conversation is a sequence of `ChatMessage`; the tools on offer are `ToolSpec`; an answer is a
`Reply`. `ollama.py` translates these to the wire and foreign errors to the tree in `errors.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

ParameterType = Literal["string", "integer", "number", "boolean"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One flat argument of a tool. Schemas stay flat: nested ones break the model and its prefix cache."""

    name: str
    type: ParameterType
    description: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it; `as_json` is byte-stable for the prefix cache."""

    name: str
    description: str
    parameters: tuple[Parameter, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Ollama's `tools` element; one extra key a property only, see `Parameter`."""
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
    """A tool the model asked for. `arguments` are as it gave them: `toolcalls.extract` checks and coerces."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of the prompt. Tool results carry no name or id: order is all that the template keeps."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """One request's model and sampling. `context_window` must be equal on a host: a change reloads."""

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
    """Seconds until a request counts as failed: to connect, to the first chunk, between chunks, in all."""

    connect_s: float = 5.0
    first_token_s: float = 600.0
    idle_s: float = 120.0
    total_s: float = 1_800.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request cost, as the server reported it (None where it did not)."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    generated_tokens: int | None = None
    load_ms: float | None = None
    prefill_ms: float | None = None
    generation_ms: float | None = None
    total_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: text and the calls the server parsed, before repair of leaked ones."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    done_reason: str = "stop"
    cost: Cost = field(default_factory=Cost)


class ChatModel(Protocol):
    """Implemented by `ollama.OllamaModel`; tests point it at the scripted server, never fake it."""

    def chat(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[ToolSpec],
        options: ModelOptions,
        *,
        on_text: Callable[[str], None],
        cancelled: threading.Event,
    ) -> Reply:
        """Stream one answer. Raises a `ModelError`; `ModelCancelled` within 200 ms of `cancelled`."""
        ...
