"""What can go wrong around a command, as opposed to inside it.

SandboxError
├── SandboxUnavailable   this machine cannot confine commands; the text names the fix
└── SandboxFailed        one command could not be set up, though the sandbox works in general
"""

from __future__ import annotations


class SandboxError(Exception):
    """Something about the sandbox itself, never about the command that ran in it."""


class SandboxUnavailable(SandboxError):
    """Commands cannot be confined here. The text says why and what to do; work must not start."""


class SandboxFailed(SandboxError):
    """The sandbox could not be set up for this one command; the command has not run."""
