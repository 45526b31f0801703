"""Named instants at which a test has a process killed: what "a kill at any instant" is proved with.

`failpoint("intent_written")` stands where the instant is and does nothing, unless a test armed this
process by a private variable of its environment:

    _NIGHTCREW_FAILPOINT=WHO:INSTANT:COUNT:SIGNAL:MARKER

The COUNT-th time that an actor whose name fits the pattern WHO comes by INSTANT, it makes the file
MARKER and sends itself SIGNAL. Once a crew: while MARKER exists nobody is killed, so the next
incarnation gets by. MARKER holds the pid, the actor and the time. A fork inherits what its zygote read.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

VARIABLE = "_NIGHTCREW_FAILPOINT"


@dataclass(slots=True)
class _Trap:
    who: str
    count: int
    signal: signal.Signals
    marker: Path
    hits: int = 0


_traps: dict[str, _Trap] = {}
_name = ""


def failpoint(instant: str) -> None:
    """Come by `instant`. Unarmed it costs one look into an empty dictionary."""
    if _traps and instant in _traps:
        _spring(_traps[instant])


def arm(environment: Mapping[str, str], name: str) -> None:
    """At the start of a process with its own environment: read what is asked, and who this is."""
    _traps.clear()
    set_actor_name(name)
    if VARIABLE in environment:
        who, instant, count, number, marker = environment[VARIABLE].split(":", 4)
        _traps[instant] = _Trap(who, int(count), signal.Signals[number], Path(marker))


def set_actor_name(name: str) -> None:
    """Set the name that WHO is compared with; called after a fork."""
    global _name  # noqa: PLW0603 - a process has one name, and passing it to every instant would cost more
    _name = name


def _spring(trap: _Trap) -> None:
    if not fnmatchcase(_name, trap.who):
        return
    trap.hits += 1
    if trap.hits != trap.count:
        return
    try:
        descriptor = os.open(trap.marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    os.write(descriptor, json.dumps({"pid": os.getpid(), "who": _name, "at": time.time()}).encode())
    os.close(descriptor)
    os.kill(os.getpid(), trap.signal)
