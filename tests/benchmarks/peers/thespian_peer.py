"""`thespian_peer.py KILLS`: kill -9 of a Thespian actor -> its parent's next question is answered.

Thespian tells the parent of the death; making the child anew, and asking it again, is the parent's work.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from typing import Any

actors: Any = importlib.import_module("thespian.actors")


class Child(actors.Actor):  # type: ignore[misc] # the library is not in the environment that is checked
    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802 - Thespian's name
        if message == "pid":
            self.send(sender, os.getpid())


class Parent(actors.Actor):  # type: ignore[misc] # as above
    child: Any = None
    waiting: Any = None

    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802 - Thespian's name
        if isinstance(message, int):
            if self.waiting is not None:
                self.send(self.waiting, message)
            self.waiting = None
            return
        if isinstance(message, actors.ChildActorExited):
            self.child = None
        elif message == "pid":
            self.waiting = sender
        else:
            return
        self.child = self.child or self.createActor(Child)
        if self.waiting is not None:
            self.send(self.child, "pid")


def main(kills: int) -> list[float]:
    system = actors.ActorSystem("multiprocTCPBase")
    took_ms = []
    try:
        parent = system.createActor(Parent)
        for _ in range(kills):
            pid = system.ask(parent, "pid", 5)
            began = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            while system.ask(parent, "pid", 5) == pid:
                pass
            took_ms.append((time.perf_counter() - began) * 1000)
    finally:
        system.shutdown()
    return took_ms


if __name__ == "__main__":
    # As a module of its name: the actors' processes must find their classes again.
    own: Any = importlib.import_module("tests.benchmarks.peers.thespian_peer")
    print(json.dumps(own.main(int(sys.argv[1]))))
