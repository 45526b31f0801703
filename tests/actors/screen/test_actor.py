"""The tmux actor: live text is shown, and removed if its call is cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pykka
import pytest

from actors.home import Home
from actors.runtime.actor import Recover, Wake
from actors.runtime.context import Runtime
from actors.runtime.live import LivePiece
from actors.runtime.wake import Waker
from actors.screen.actor import TmuxActor
from actors.screen.attach import kill_server
from actors.settings import Config
from store.engine import Store
from store.states import Role
from tests.support.stores import add_agent, make_file, new_incarnation

AGENT = "orchestrator"


@dataclass
class Shown:
    """A running tmux actor, and the window file of its only agent."""

    actor: pykka.ActorRef[TmuxActor]
    file: Path

    def receives(self, **live: Any) -> str:
        """The text of the window after a datagram was received."""
        self.actor.ask(LivePiece(AGENT, **live))
        return self.file.read_text()


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    monkeypatch.chdir(tmp_path)  # the actor changes the working directory, and these variables
    for name in ("LC_ALL", "TMUX", "TMUX_PANE"):
        monkeypatch.setenv(name, "C")
    home = Home(tmp_path / "home")
    home.make()
    waker = Waker(home.run)
    store = Store(make_file(home.store), notify=waker)
    add_agent(store, AGENT, role=Role.ORCHESTRATOR)
    add_agent(store, "tmux")
    runtime = Runtime("tmux", new_incarnation(store, "tmux").generation, home, Config(), store, waker)
    actor = TmuxActor.start(runtime)
    actor.ask(Recover())
    actor.ask(Wake())
    yield Shown(actor, home.windows / f"{AGENT}.ansi")
    actor.stop()
    kill_server(home.run)
    store.close()
    waker.close()


def test_cancelled_reply_is_removed_and_the_next_one_is_shown(shown: Shown) -> None:
    assert shown.receives(stream=1, offset=0, text="I begin to").endswith("I begin to")
    assert "I begin to" not in shown.receives(stream=1, offset=10, text="", is_over=True)
    assert "I begin to" not in shown.receives(stream=1, offset=10, text=" late")
    assert shown.receives(stream=2, offset=0, text="Another").endswith("Another")
