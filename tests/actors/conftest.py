"""An actor's runtime on a real store in a private home, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pykka
import pytest

from actors.home import Home
from actors.runtime.actor import Actor, Recover, Wake
from actors.runtime.context import Runtime
from actors.runtime.wake import Waker
from actors.settings import Config
from store.engine import Store
from tests.support.stores import NOW, add_agent, make_file, new_incarnation

Start = Callable[[type[Actor], str], "Started"]


@dataclass
class Clock:
    """UTC seconds, moved by hand."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Started:
    """An actor on its thread; `drain` has it look into its mailbox and waits until it has."""

    runtime: Runtime
    clock: Clock
    drain: Callable[[], object]


@dataclass
class Stage:
    """What the actors of one test share."""

    home: Home
    store: Store
    waker: Waker
    clock: Clock = field(default_factory=Clock)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    home = Home(tmp_path / "home")
    home.make()
    waker = Waker(home.run)
    store = Store(make_file(home.store), notify=waker)
    yield Stage(home, store, waker)
    store.close()
    waker.close()


@pytest.fixture
def store(stage: Stage) -> Store:
    return stage.store


@pytest.fixture
def start(stage: Stage) -> Iterator[Start]:
    references: list[pykka.ActorRef[Actor]] = []

    def started(actor_class: type[Actor], name: str) -> Started:
        add_agent(stage.store, name)
        fence = new_incarnation(stage.store, name)
        runtime = Runtime(
            name, fence.generation, stage.home, Config(), stage.store, stage.waker, clock=stage.clock
        )
        reference = actor_class.start(runtime)
        references.append(reference)
        reference.ask(Recover())
        return Started(runtime, stage.clock, lambda: reference.ask(Wake()))

    yield started
    for reference in references:
        reference.stop()
