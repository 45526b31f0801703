"""What can go wrong between the crew and its windows. The crew works on without them.

ScreenError
├── TmuxMissing       no tmux on PATH
├── TmuxFailed        tmux refused a command, or its server is gone
├── NoSuchWindow      `attach` for an agent that has no window
└── ScreenUnwritable  an agent's window file cannot be written (full disk, permissions)
"""

from __future__ import annotations

from store.errors import NightcrewError


class ScreenError(NightcrewError):
    """The windows could not be brought to what they should show."""


class TmuxMissing(ScreenError):
    """tmux is not on PATH."""

    def __init__(self) -> None:
        super().__init__(
            "tmux is not on PATH; the crew works without it, but there are no windows to watch. Install it: "
            "`apt install tmux` (Debian, Ubuntu), `dnf install tmux` (Fedora), `brew install tmux` (macOS)"
        )


class TmuxFailed(ScreenError):
    """tmux refused a command; the text is tmux's own."""


class NoSuchWindow(ScreenError):
    """There is no window of that agent, or no tmux server."""


class ScreenUnwritable(ScreenError):
    """A window file cannot be written; it is rebuilt from the store as soon as it can be."""
