"""A started command: kill it with all its descendants, wait for its end, close its descriptors."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from actors.sandbox.backends import landlock
from actors.sandbox.errors import SandboxFailed
from actors.sandbox.launch import cgroup
from actors.sandbox.launch.marks import kill_group_and_marked, kill_marked
from actors.sandbox.launch.pipes import readable
from actors.sandbox.usage import UsageMeter

_HIGHEST_PRIORITY = -20
_LAUNCHER_END_S = 15.0
_FINISH_S = 30.0


@dataclass(slots=True)
class RunningCommand:
    """A running command.

    - `process`: the launcher (without a sandbox: the command itself). `output_fd`: read end of its output.
    - `root_pid`: the process from which all of the command's processes descend. `root_pidfd` refers to it if
      it is the init process (pid 1) of a PID namespace; when it ends, the kernel kills the whole namespace.
    - `mark`: the command's value of the mark variable, where there is no namespace.
    - `start_fd`: read end of the pipe whose byte lets a bubblewrap command start.
    - `lifeline_fd`: a pipe end; when all its copies are closed, Landlock's launcher kills the command.
    - `group`: the command's control group. `scratch`: its private folder under Landlock.
    """

    process: subprocess.Popen[bytes]
    output_fd: int
    root_pid: int
    root_pidfd: int | None
    meter: UsageMeter
    mark: str | None = None
    start_fd: int | None = None
    group: Path | None = None
    lifeline_fd: int | None = None
    scratch: Path | None = None
    _closed: bool = field(default=False)

    def kill(self) -> None:
        """Kill all processes of the command. Does nothing if it has ended."""
        if self.root_pidfd is not None:
            # The first process of the namespace: the kernel kills all others with it, atomically.
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.root_pidfd, signal.SIGKILL)
            # A killed process needs CPU time to exit. Raise its priority, or it waits behind a fork bomb.
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self.root_pid, _HIGHEST_PRIORITY)
        if self.lifeline_fd is not None:
            self._release_lifeline()
            return
        if self.mark is not None:
            kill_group_and_marked(self.process.pid, self.mark)
        self.process.kill()

    def finish(self, deadline_s: float = _FINISH_S) -> int:
        """Wait until no process of the command is left; returns the launcher's exit code.

        Raises SandboxFailed if a process survives SIGKILL.
        """
        if self.mark is not None and self.scratch is not None:
            self._finish_landlock(self.mark, self.scratch)
        elif self.mark is not None:
            kill_group_and_marked(self.process.pid, self.mark)
        try:
            code = self.process.wait(timeout=deadline_s)
        except subprocess.TimeoutExpired as error:
            # A process in uninterruptible sleep, for example on a failed disk, ends only at a reboot.
            raise SandboxFailed(
                f"The command's process {self.process.pid} did not end after SIGKILL."
            ) from error
        if self.root_pidfd is not None:
            readable([self.root_pidfd], deadline_s)
        if self.group is not None:
            cgroup.remove(self.group)
        return code

    def never_started(self) -> bool:
        """After the end: whether the launcher failed before the command, leaving the start byte unread."""
        return self.start_fd is not None and os.read(self.start_fd, 1) != b""

    def close(self) -> None:
        """Close the descriptors; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        for descriptor in (self.output_fd, self.root_pidfd, self.start_fd, self.lifeline_fd):
            if descriptor is not None:
                os.close(descriptor)

    def _release_lifeline(self) -> None:
        """Make Landlock's launcher kill all descendants. If it were killed instead, they would keep running."""
        if self.lifeline_fd is not None:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self.process.pid, _HIGHEST_PRIORITY)
            os.close(self.lifeline_fd)
            self.lifeline_fd = None

    def _finish_landlock(self, mark: str, scratch: Path) -> None:
        try:
            code = self.process.wait(timeout=_LAUNCHER_END_S if self.lifeline_fd is None else None)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._release_lifeline()
        if code < 0:
            # Commands can kill the launcher below Landlock version 6. Its orphans still carry the mark.
            kill_marked(mark)
        landlock.remove_scratch(scratch)
