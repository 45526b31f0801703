"""Which class an actor's kind is. The tmux actor is loaded late: its library stays out of the agents."""

from __future__ import annotations

from actors.actor import Actor


def actor_class(kind: str) -> type[Actor]:
    """Raises `KeyError` for a kind that there is not."""
    match kind:
        case "agent":
            from actors.agent.agent import Agent

            return Agent
        case "gate":
            from actors.merge_queue import MergeQueue

            return MergeQueue
        case "timer":
            from actors.timer import TimerActor

            return TimerActor
        case "tmux":
            from actors.tmux import TmuxActor

            return TmuxActor
        case _:
            raise KeyError(f"there is no actor of kind {kind!r}")
