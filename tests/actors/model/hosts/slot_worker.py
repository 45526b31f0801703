"""A process that takes and gives back slots of a host, one command a line on its standard input.

`python -m tests.actors.model.hosts.slot_worker FOLDER SLOTS AGENT brief|long` prints "ready". For each line "take" it
waits for a slot and prints "got QUEUE_MS". "give" or "give again" (its next request will come soon) gives it back and
prints "gave".
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from actors.model.hosts.slots import Slots


def main(folder: str, slots: str, agent: str, kind: str) -> None:
    host = Slots(Path(folder), int(slots))
    print("ready", flush=True)
    for line in sys.stdin:
        assert line.strip() == "take", line
        with host.acquire(agent, is_brief=kind == "brief", cancelled=threading.Event()) as held:
            print(f"got {held.queue_ms:.1f}", flush=True)
            held.expects_followup = sys.stdin.readline().strip() == "give again"
        print("gave", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
