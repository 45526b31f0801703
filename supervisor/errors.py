"""What the supervisor and the CLI can refuse, as one tree. The code is the process's exit status.

NightcrewError           1  something could not be done
|-- UsageProblem         2  the command's words are off
|-- NotReady            69  something that is needed is missing: model server, git, tmux, sandbox
|-- LaunchFailed        71  a process could not be started
|   `-- ZygoteNotReady  71  the process that forks actors is still starting: try again
|-- AlreadyRunning      75  another supervisor holds this home
`-- NotRunning          76  no supervisor runs for this home
"""

from __future__ import annotations


class NightcrewError(Exception):
    """Something could not be done."""

    exit_code = 1


class UsageProblem(NightcrewError):
    """The command's words are off."""

    exit_code = 2


class NotReady(NightcrewError):
    """Something that is needed is missing."""

    exit_code = 69


class LaunchFailed(NightcrewError):
    """A process could not be started."""

    exit_code = 71


class ZygoteNotReady(LaunchFailed):
    """The process that forks actors is still starting; try again."""


class AlreadyRunning(NightcrewError):
    """Another supervisor holds this home."""

    exit_code = 75


class NotRunning(NightcrewError):
    """No supervisor runs for this home."""

    exit_code = 76
