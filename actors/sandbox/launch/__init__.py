"""Start one command so that all of its processes can be ended: `launch` returns a `RunningCommand`.

- `bubblewrap.py`, `landlock.py`, `unconfined.py`: one way to start each. `confine.py` is Landlock's launcher.
- `running.py`: a started command, and how it is killed and waited for.
- `pipes.py`, `process.py`: descriptors and child processes. `marks.py`: find processes by an environment
  variable. `cgroup.py`: a limit on the number of processes that also binds root.

The one thing to know: a confined command is started in two steps. Its first process is set up and waits;
we record "started"; then one byte on a pipe lets it run. A record without "started" (with bubblewrap: without
"launching", see there) proves that the command never ran.
"""

from __future__ import annotations

from actors.sandbox.backends import seatbelt
from actors.sandbox.launch.bubblewrap import launch_bubblewrap
from actors.sandbox.launch.landlock import launch_landlock
from actors.sandbox.launch.running import RunningCommand
from actors.sandbox.launch.unconfined import launch_unconfined
from actors.sandbox.policy import Sandbox, View


def launch(
    sandbox: Sandbox, words: list[str], view: View, status_fd: int | None, mark: str
) -> RunningCommand:
    """Start `words` in the sandbox. Raises SandboxFailed.

    `status_fd` receives the exit record's facts. `mark` is unique to the command: its processes are found by
    it where there is no process namespace.
    """
    if sandbox.launcher is None:
        return launch_unconfined(sandbox, words, view, status_fd, mark)
    if sandbox.mode == "landlock":
        return launch_landlock(sandbox, words, view, status_fd, mark)
    if sandbox.mode == "seatbelt":
        return launch_unconfined(sandbox, seatbelt.command(sandbox, words, view), view, status_fd, mark)
    return launch_bubblewrap(sandbox, words, view, status_fd)
