"""Looking at a tmux server from outside, as a person would, and waiting for what should appear."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def wait_for(observe: Callable[[], T], what: str, deadline_s: float = 15.0) -> T:
    """The first true value that `observe` gives."""
    until = time.monotonic() + deadline_s
    while not (seen := observe()):
        assert time.monotonic() < until, f"{what} did not happen in {deadline_s} s; last seen: {seen!r}"
        time.sleep(0.01)
    return seen


@dataclass(frozen=True, slots=True)
class Screen:
    """tmux's command line on the crew's socket."""

    run_dir: Path

    def tmux(self, *arguments: str) -> str:
        argv = ["tmux", "-u", "-S", "tmux.sock", *arguments]
        result = subprocess.run(argv, cwd=self.run_dir, capture_output=True, text=True, check=False)
        return result.stdout if result.returncode == 0 else ""

    def text(self, target: str) -> str:
        """All lines of a window, scrollback included, long lines joined, without the empty rest."""
        return self.tmux("capture-pane", "-p", "-J", "-S", "-", "-t", target).rstrip()

    def wait_for(self, target: str, text: str) -> str:
        def seen() -> str:
            shown = self.text(target)
            return shown if text in shown else ""

        return wait_for(seen, f"{text!r} in {target}")

    def windows(self) -> list[str]:
        return self.tmux("list-windows", "-a", "-F", "#{session_name}:#{window_name}").splitlines()

    def value(self, target: str, what: str) -> str:
        return self.tmux("display-message", "-p", "-t", target, what).strip()
