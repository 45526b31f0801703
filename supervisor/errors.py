"""The errors of the supervisor and of the command line, as one tree.

The number is the exit code of a command that such an error ends. A class without a number has its parent's.

NightcrewError           1  `store/errors.py`
|-- UsageProblem         2  the arguments are invalid
|-- SpecError           65  a project's spec is incomplete or cannot be read
|-- NotReady            69  something is missing: model server, git, tmux, sandbox
|-- LaunchFailed        71  a process could not be started
|   |-- ZygoteNotReady      the process that forks actors is still starting: try again
|   `-- StartFailed         the supervisor ended before it was ready; has the supervisor's exit code
|-- ProjectNameTaken    73  a live project has that name
|-- AlreadyRunning      75  another supervisor runs for this home
|-- NotRunning          76  no supervisor runs for this home
|-- ConfigError         78  the configuration is invalid
|-- NoAnswer                an agent has not answered in time
|-- StillRunning            an ended project still has processes
|-- ServiceNotEnabled       the service manager refused the service's file
`-- ServiceUnsupported      the system has neither systemd nor launchd
"""

from __future__ import annotations

from store.errors import NightcrewError


class UsageProblem(NightcrewError):
    """The arguments are invalid."""

    exit_code = 2


class NotReady(NightcrewError):
    """Something that is needed is missing."""

    exit_code = 69


class LaunchFailed(NightcrewError):
    """A process could not be started."""

    exit_code = 71


class ZygoteNotReady(LaunchFailed):
    """The process that forks actors is still starting; try again."""


class StartFailed(LaunchFailed):
    """The supervisor ended before it was ready. The message is the error that it printed."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StillRunning(NightcrewError):
    """An ended project still has processes."""


class AlreadyRunning(NightcrewError):
    """Another supervisor runs for this home."""

    exit_code = 75


class NotRunning(NightcrewError):
    """No supervisor runs for this home."""

    exit_code = 76
