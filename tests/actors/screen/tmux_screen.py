"""A tmux server as a person sees it, from outside."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import eventually

VISIBLE_S = 15.0


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

        return eventually(seen, f"{text!r} in {target}", within_s=VISIBLE_S)

    def windows(self) -> list[str]:
        return self.tmux("list-windows", "-a", "-F", "#{session_name}:#{window_name}").splitlines()

    def value(self, target: str, what: str) -> str:
        return self.tmux("display-message", "-p", "-t", target, what).strip()
