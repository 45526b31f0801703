"""Errors of the sandbox itself. How a command ended is a result, not an error.

SandboxError
├── SandboxUnavailable   this machine cannot confine commands
└── SandboxFailed        the sandbox could not be set up for one command
"""

from __future__ import annotations

from actors.errors import InfrastructureError


class SandboxError(InfrastructureError):
    """The sandbox failed; says nothing about the command."""


class SandboxUnavailable(SandboxError):
    """This machine cannot confine commands. The text gives the cause and the remedy."""


class SandboxFailed(SandboxError):
    """The sandbox could not be set up for one command. That command has not run."""
