"""Commands of agents, confined.

`choose()` turns a `SandboxPolicy` into a `Sandbox` that this machine can keep, or refuses with the fix;
`self_test()` proves it from the inside; `run_command()` runs one command in it and gives a `CommandResult`.
Everything a command started is dead when `run_command` returns.
"""

from actors.sandbox.choose import choose
from actors.sandbox.errors import SandboxError, SandboxFailed, SandboxUnavailable
from actors.sandbox.policy import Sandbox, SandboxPolicy, View
from actors.sandbox.run import CommandResult, run_command
from actors.sandbox.selftest import Probe, SelfTestReport, self_test

__all__ = [
    "CommandResult",
    "Probe",
    "Sandbox",
    "SandboxError",
    "SandboxFailed",
    "SandboxPolicy",
    "SandboxUnavailable",
    "SelfTestReport",
    "View",
    "choose",
    "run_command",
    "self_test",
]
