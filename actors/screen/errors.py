"""Errors of the tmux windows. The crew continues without windows.

ScreenError
├── TmuxMissing       tmux is not on PATH
├── TmuxFailed        tmux refused a command, or its server is gone
├── NoSuchWindow      the agent has no window
└── ScreenUnwritable  a window file cannot be written (full disk, permissions)
"""

from __future__ import annotations

from store.errors import NightcrewError


class ScreenError(NightcrewError):
    """The windows could not be updated."""


class TmuxMissing(ScreenError):
    """tmux is not on PATH."""

    def __init__(self) -> None:
        super().__init__(
            "tmux is not on PATH. The crew works without it, but has no windows to watch. Install it: "
            "`apt install tmux` (Debian, Ubuntu), `dnf install tmux` (Fedora), `brew install tmux` (macOS)"
        )


class TmuxFailed(ScreenError):
    """tmux refused a command, or did not answer. The text has tmux's message."""


class NoSuchWindow(ScreenError):
    """The agent has no window, or there is no tmux server."""


class ScreenUnwritable(ScreenError):
    """A window file cannot be written. It is rebuilt from the store as soon as that is possible."""
