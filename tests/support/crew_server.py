"""The real supervisor in a process of its own, whose zygote knows the tests' kinds of actors.

`python -m tests.support.crew_server HOME CONFIG_JSON START_PATIENCE_S`: only the rows that the test has
written are its children, without timer, orchestrator and windows.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from actors.home import Home
from actors.settings import Config
from supervisor import loop, preflight, run
from supervisor.errors import NightcrewError


class _WithTestKinds(subprocess.Popen[bytes]):
    def __init__(self, arguments: Any, **options: Any) -> None:
        words = ["tests.support.zygote" if word == "supervisor.zygote" else word for word in arguments]
        super().__init__(words, **options)


def _none(*_arguments: Any, **_options: Any) -> None:
    """In place of what these tests have no use for."""


def main(home: str, config: str, start_patience_s: str) -> None:
    subprocess.Popen = _WithTestKinds  # type: ignore[misc,assignment]  # in this process only
    loop.add_services = _none
    preflight.observe_sandbox = _none
    loop.START_PATIENCE_S = float(start_patience_s)
    try:
        run.serve(Home(Path(home)), Config.from_json(config), stderr=False)
    except NightcrewError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main(*sys.argv[1:])
