"""Named instants at which a test can kill a process. The crash tests use them.

`failpoint("intent_written")` marks an instant in the code. It does nothing unless a test has set a private
environment variable of this process:

    _NIGHTCREW_FAILPOINT=WHO:INSTANT:COUNT:SIGNAL:MARKER

When an actor whose name matches the pattern WHO reaches INSTANT for the COUNT-th time, it creates the file MARKER
with its pid, name and the time, and signals itself. While MARKER exists no actor is signalled, so that the next
incarnation continues. Forked actors inherit the setting from the zygote.
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
class _Armed:
    who: str
    count: int
    signal: signal.Signals
    marker: Path
    hits: int = 0


_armed: dict[str, _Armed] = {}
_name = ""


def failpoint(instant: str) -> None:
    """Signal this process if a test has chosen `instant`. Otherwise it costs one lookup in an empty dictionary."""
    if _armed and instant in _armed:
        _hit(_armed[instant])


def arm(environment: Mapping[str, str], name: str) -> None:
    """Read the setting from `environment`, and set the actor's name; called when a process starts."""
    _armed.clear()
    set_actor_name(name)
    if VARIABLE in environment:
        who, instant, count, number, marker = environment[VARIABLE].split(":", 4)
        _armed[instant] = _Armed(who, int(count), signal.Signals[number], Path(marker))


def set_actor_name(name: str) -> None:
    """Set the name that WHO is compared with; called after a fork."""
    global _name  # noqa: PLW0603 - a process has one name, and passing it to every instant would cost more
    _name = name


def _hit(armed: _Armed) -> None:
    if not fnmatchcase(_name, armed.who):
        return
    armed.hits += 1
    if armed.hits != armed.count:
        return
    try:
        descriptor = os.open(armed.marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    os.write(descriptor, json.dumps({"pid": os.getpid(), "who": _name, "at": time.time()}).encode())
    os.close(descriptor)
    os.kill(os.getpid(), armed.signal)
