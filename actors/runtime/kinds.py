"""Which class an actor's kind is: one of ours by its short name, or any by `module:Class`."""

from __future__ import annotations

import importlib

from actors.runtime.actor import Actor
from store.states import ActorKind

# Imported when asked for: the tmux actor's library, for one, must stay out of the other processes.
KINDS: dict[str, str] = {
    ActorKind.AGENT: "actors.agent.agent:Agent",
    ActorKind.GATE: "actors.gate.actor:MergeGate",
    ActorKind.TIMER: "actors.work.timer:TimerActor",
    ActorKind.TMUX: "actors.screen.actor:TmuxActor",
}


def actor_class(kind: str) -> type[Actor]:
    """Raises `LookupError` for a kind that there is not."""
    module, _, name = KINDS.get(kind, kind).partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise LookupError(f"there is no actor of kind {kind!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Actor)):
        raise LookupError(f"{kind!r} is no actor")
    return found
