"""Runs the real supervisor in its own process, with a zygote that also has the tests' kinds of actors.

`python -m tests.support.crew_server HOME CONFIG_JSON START_TIMEOUT_S`. Its only children are the agent rows that
the test has written: timer, orchestrator and windows are not started.
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
KEPT_READING = "kept reading the mailbox after stop_all"


class _WithTestKinds(subprocess.Popen[bytes]):
    def __init__(self, arguments: Any, **options: Any) -> None:
        replaced = [
            "tests.support.zygote" if argument == "supervisor.process.zygote" else argument
            for argument in arguments
        ]
        super().__init__(replaced, **options)


def _none(*_arguments: Any, **_options: Any) -> None:
    """A no-op that replaces functions which these tests do not need."""


_stop_all = loop.Supervisor.stop_all


def _stop_all_and_keep_reading(self: loop.Supervisor) -> None:
    """Run `stop_all`, then keep reading the mailbox for 0.3 s.

    Simulates a supervisor that still handles earlier messages during its shutdown.
    """
    _stop_all(self)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        self.read_mailbox()
    print(KEPT_READING, file=sys.stderr, flush=True)


def main(home: str, config: str, start_timeout_s: str) -> None:
    subprocess.Popen = _WithTestKinds  # type: ignore[misc,assignment]  # in this process only
    loop.add_services = _none
    preflight.observe_sandbox = _none
    children.START_TIMEOUT_S = float(start_timeout_s)
    if os.environ.get(BUSY_AT_THE_END):
        loop.Supervisor.stop_all = _stop_all_and_keep_reading  # type: ignore[method-assign]  # in this process only
    try:
        run.serve(Home(Path(home)), Config.from_json(config), stderr=False)
    except NightcrewError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main(*sys.argv[1:])
