"""What to do about an exit: a pure function, after the rules of OTP's `supervisor`.

    | restart   | normal  | shutdown | abnormal |
    |-----------|---------|----------|----------|
    | permanent | restart | restart  | restart  |
    | transient | -       | -        | restart  |
    | temporary | -       | -        | -        |

A restart takes along: nobody (one_for_one), everybody (one_for_all), or those started after it
(rest_for_one). Companions are stopped in reverse start order, then all start in order; temporary
companions are stopped and not started again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from supervisor.policy.spec import ChildSpec, Exit, Restart


class Strategy(StrEnum):
    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


@dataclass(frozen=True, slots=True)
class Stop:
    """End this running child."""

    name: str


@dataclass(frozen=True, slots=True)
class Start:
    """Start this child."""

    name: str


@dataclass(frozen=True, slots=True)
class Forget:
    """This child has ended for good."""

    name: str


Action = Stop | Start | Forget


def must_restart(restart: Restart, how: Exit) -> bool:
    """The table above."""
    if restart is Restart.PERMANENT:
        return True
    return restart is Restart.TRANSIENT and how is Exit.ABNORMAL


def decide(strategy: Strategy, children: Sequence[ChildSpec], exited: str, how: Exit) -> list[Action]:
    """The actions, in order, after `exited` (one of `children`, which stand in start order) ended `how`."""
    index = next(i for i, child in enumerate(children) if child.name == exited)
    if not must_restart(children[index].restart, how):
        return [Forget(exited)]
    companions = _companions(strategy, children, index)
    stops: list[Action] = [Stop(child.name) for child in reversed(companions)]
    forgets: list[Action] = [Forget(child.name) for child in companions if child.restart is Restart.TEMPORARY]
    again = [
        child
        for child in children
        if child.name == exited or (child in companions and child.restart is not Restart.TEMPORARY)
    ]
    return [*stops, *forgets, *(Start(child.name) for child in again)]


def _companions(strategy: Strategy, children: Sequence[ChildSpec], index: int) -> list[ChildSpec]:
    if strategy is Strategy.ONE_FOR_ONE:
        return []
    if strategy is Strategy.REST_FOR_ONE:
        return list(children[index + 1 :])
    return [child for i, child in enumerate(children) if i != index]
