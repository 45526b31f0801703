"""A process that uses a host's gate as its standard input tells it, a line a request.

`python -m tests.model.gate_worker FOLDER SLOTS WHO brief|long`: says "ready", then for each line "take" waits for a
slot and says "got QUEUE_MS"; "give" or "give again" (its next request follows soon) gives it back and says "gave".
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from actors.model.slots import SlotGate


def main(folder: str, slots: str, who: str, kind: str) -> None:
    gate = SlotGate(Path(folder), int(slots))
    print("ready", flush=True)
    for line in sys.stdin:
        assert line.strip() == "take", line
        with gate.slot(who, brief=kind == "brief", cancelled=threading.Event()) as held:
            print(f"got {held.queue_ms:.1f}", flush=True)
            held.comes_back = sys.stdin.readline().strip() == "give again"
        print("gave", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
