"""Actors that tests start in real processes. Each executes the command in a message's text:

say TEXT        answers the sender with TEXT
raise           fails, every time
exit N          ends its process with code N
kill            kills its own process with SIGKILL while it handles the message
hold PATH       touches PATH, then works until PATH.go exists or the process must stop
facts           answers with facts about its process: threads, frozen objects, modules
child           starts a command that outlives it and answers with its pid
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from actors.runtime import kinds, mailbox
from actors.runtime.actor import Actor
from actors.runtime.context import Effects, nothing
from actors.runtime.handler import MessageActor
from actors.runtime.messages import AnyMessage, Text
from store.engine import Transaction
from store.rows import Message


class Obedient(MessageActor):
    """Executes the commands that the module docstring lists."""

    def handle(self, message: AnyMessage, row: Message) -> Effects:
        if not isinstance(message, Text):
            return super().handle(message, row)
        verb, _, rest = message.text.partition(" ")
        match verb:
            case "say":
                return self._answer(row, rest)
            case "raise":
                raise RuntimeError(f"requested failure of attempt {row.attempts + 1}")
            case "exit":
                os._exit(int(rest))
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hold":
                self._hold(Path(rest))
            case "facts":
                return self._answer(row, json.dumps(facts()))
            case "child":
                child = subprocess.Popen(["sleep", "60"], start_new_session=True)
                return self._answer(row, str(child.pid))
            case _:
                pass
        return nothing

    def _answer(self, row: Message, text: str) -> Effects:
        def effects(tx: Transaction) -> None:
            mailbox.post(
                tx, self.runtime.name, row.sender, Text(text=text), now=self.now(), in_reply_to=row.id
            )

        return effects

    def _hold(self, path: Path) -> None:
        path.touch()
        while not path.with_suffix(".go").exists() and not self.coupling.stopping.is_set():
            time.sleep(0.005)


class IgnoresStop(Obedient):
    """An actor that ignores stop requests: its step does not check for them."""

    def _hold(self, path: Path) -> None:
        path.touch()
        threading.Event().wait()


class NeverReady(MessageActor):
    """An actor whose recovery never returns."""

    def recover(self) -> None:
        threading.Event().wait()


class Unlucky(MessageActor):
    """An actor whose recovery always fails."""

    def recover(self) -> None:
        raise RuntimeError("no luck")


CLASSES: dict[str, type[Actor]] = {
    "obedient": Obedient,
    "ignores_stop": IgnoresStop,
    "never_ready": NeverReady,
    "unlucky": Unlucky,
}


def facts() -> dict[str, object]:
    """Facts about this process; called on the actor's thread."""
    return {
        "threads": sorted(thread.name.split("-")[0] for thread in threading.enumerate()),
        "frozen": gc.get_freeze_count(),
        "modules": sorted({name.partition(".")[0] for name in sys.modules}),
        "descriptors": sorted(str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in _descriptors()),
        "session": os.getsid(0) == os.getpid(),
        "parent": os.getppid(),
    }


def _descriptors() -> list[int]:
    found = []
    for name in [link.name for link in Path("/proc/self/fd").iterdir()]:
        try:
            os.fstat(int(name))
        except OSError:  # the descriptor that the listing itself used
            continue
        found.append(int(name))
    return found


def install() -> None:
    """Add these kinds to those of `actors.runtime.kinds`, in this process."""
    real = kinds.actor_class

    def actor_class(kind: str) -> type[Actor]:
        return CLASSES[kind] if kind in CLASSES else real(kind)

    kinds.actor_class = actor_class
