"""The real supervisor in a process of its own, whose zygote knows the tests' kinds of actors.

`python -m tests.support.crew_server HOME CONFIG_JSON START_PATIENCE_S`: only the rows that the test has
written are its children, without timer, orchestrator and windows.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from actors.home import Home
from actors.settings import Config
from store.errors import NightcrewError
from supervisor import loop, run
from supervisor.health import preflight
from supervisor.process import children

BUSY_AT_THE_END = "_NIGHTCREW_TEST_BUSY_AT_THE_END"
LOOKED_ON = "looked on after the end"


class _WithTestKinds(subprocess.Popen[bytes]):
    def __init__(self, arguments: Any, **options: Any) -> None:
        words = [
            "tests.support.zygote" if word == "supervisor.process.zygote" else word for word in arguments
        ]
        super().__init__(words, **options)


def _none(*_arguments: Any, **_options: Any) -> None:
    """In place of what these tests have no use for."""


_stop_all = loop.Supervisor.stop_all


def _stop_all_and_look_on(self: loop.Supervisor) -> None:
    """The end, and then still at work on what was told before it."""
    _stop_all(self)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        self.read_mailbox()
    print(LOOKED_ON, file=sys.stderr, flush=True)


def main(home: str, config: str, start_patience_s: str) -> None:
    subprocess.Popen = _WithTestKinds  # type: ignore[misc,assignment]  # in this process only
    loop.add_services = _none
    preflight.observe_sandbox = _none
    children.START_TIMEOUT_S = float(start_patience_s)
    if os.environ.get(BUSY_AT_THE_END):
        loop.Supervisor.stop_all = _stop_all_and_look_on  # type: ignore[method-assign]  # in this process only
    try:
        run.serve(Home(Path(home)), Config.from_json(config), stderr=False)
    except NightcrewError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main(*sys.argv[1:])
