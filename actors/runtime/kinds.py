"""Finds the class for an actor kind: a name in `KINDS`, or any class as `module:Class`."""

from __future__ import annotations

import importlib

from actors.runtime.actor import Actor
from store.states import ActorKind

# As text, so that a process imports only its own actor: libtmux, for example, must not load in an agent.
KINDS: dict[str, str] = {
    ActorKind.AGENT: "actors.agent.agent:Agent",
    ActorKind.GATE: "actors.gate.actor:MergeGate",
    ActorKind.TIMER: "actors.work.timer:TimerActor",
    ActorKind.TMUX: "actors.screen.actor:TmuxActor",
}


def actor_class(kind: str) -> type[Actor]:
    """The class for an actor kind. Raises `LookupError` for an unknown kind."""
    module, _, name = KINDS.get(kind, kind).partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise LookupError(f"unknown actor kind {kind!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Actor)):
        raise LookupError(f"{kind!r} is not an actor class")
    return found
