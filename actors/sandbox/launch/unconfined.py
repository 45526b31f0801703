"""Start a command without namespaces: unconfined (`--unsafe`), or wrapped in macOS's sandbox-exec."""

from __future__ import annotations

import time
from contextlib import ExitStack

from actors.sandbox.launch.marks import MARK_VARIABLE
from actors.sandbox.launch.pipes import make_pipe
from actors.sandbox.launch.process import start_process
from actors.sandbox.launch.running import RunningCommand
from actors.sandbox.policy import Sandbox, View
from actors.sandbox.record import append_status
from actors.sandbox.usage import UsageMeter


def launch_unconfined(
    sandbox: Sandbox, words: list[str], view: View, status_fd: int | None, mark: str
) -> RunningCommand:
    """Start `words` in the worktree; its processes inherit `mark`. Raises SandboxFailed."""
    environment = {**dict(sandbox.environment), MARK_VARIABLE: mark}
    if status_fd is not None:
        append_status(status_fd, {"started": time.time()})
    with ExitStack() as inherited, ExitStack() as kept:
        output_read, output_write = make_pipe(kept, inherited)
        process = start_process(words, output_write, [], environment, str(view.worktree or "/"))
        kept.pop_all()
    meter = UsageMeter(process.pid, namespaced=False)
    return RunningCommand(process, output_read, process.pid, None, meter, mark)
