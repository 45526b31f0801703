"""Find and enter the crew's windows, and end its tmux server, from any process and working directory.

Does without libtmux, whose import takes 75 ms: a third of the time that a command of the CLI may take.
"""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.screen.errors import NoSuchWindow, TmuxFailed, TmuxMissing
from actors.screen.plan import PANE_FORMAT, Pane, parse_panes, tmux_name
from actors.screen.tmux_config import SOCKET_NAME

QUERY_TIMEOUT_S = 5.0
KILL_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Attach:
    """What the CLI executes: `os.chdir(cwd)`, then `os.execvpe(argv[0], argv, environment)`."""

    argv: list[str]
    cwd: Path
    environment: dict[str, str]


def find_target(run_dir: Path, target: str) -> str | None:
    """The agent of the window `SESSION:WINDOW` (name or index); None if there is no such window or no server."""
    session, _, window = target.partition(":")
    if not window:
        return None
    for pane in _panes(run_dir):
        in_session = bool(pane.agent) and pane.session_name == tmux_name(session)
        if in_session and (pane.window_index == window or pane.window_name == tmux_name(window)):
            return pane.agent
    return None


def attach_argv(run_dir: Path, agent: str | None, environ: Mapping[str, str] = os.environ) -> Attach:
    """The command that shows an agent's window; with `agent` None the session that was used last.

    Also works inside another tmux, whose variables it removes. Raises `NoSuchWindow`.
    """
    panes = _panes(run_dir)
    if not panes:
        raise NoSuchWindow(
            "there are no windows: the crew is not running, or it runs without tmux. See `nightcrew status`"
        )
    select: list[str] = []
    if agent is not None:
        pane = next((pane for pane in panes if pane.mark and pane.agent == agent), None)
        if pane is None:
            raise NoSuchWindow(f"{agent} has no window. `nightcrew status` lists the agents")
        select = ["select-window", "-t", pane.window_id, ";", "attach-session", "-t", pane.session_id]
    # -u: the windows contain UTF-8, whatever the locale of this shell is.
    argv = ["tmux", "-u", "-S", SOCKET_NAME, *(select or ["attach-session"])]
    return Attach(argv, run_dir, _environment(environ))


def kill_server(run_dir: Path) -> None:
    """End the crew's tmux server and wait for its end; harmless if there is none."""
    pid = _tmux(run_dir, "display-message", "-p", "#{pid}").strip()
    server = _pidfd(pid)
    _tmux(run_dir, "kill-server")
    if server is not None:
        # A pidfd, because the server is not our child, and kill(pid, 0) would still succeed for a zombie.
        select.select([server], [], [], KILL_TIMEOUT_S)
        os.close(server)
    (run_dir / SOCKET_NAME).unlink(missing_ok=True)


def _panes(run_dir: Path) -> list[Pane]:
    """The panes of the crew's tmux server; empty if there is no server."""
    return parse_panes(_tmux(run_dir, "list-panes", "-a", "-F", PANE_FORMAT).splitlines())


def _tmux(run_dir: Path, *arguments: str) -> str:
    """The output of a tmux command; empty if it fails, as it does without a server."""
    try:
        result = subprocess.run(
            ["tmux", "-S", SOCKET_NAME, *arguments],
            cwd=run_dir,
            env=_environment(os.environ) | {"LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=QUERY_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        if not run_dir.is_dir():
            return ""
        raise TmuxMissing from error
    except subprocess.TimeoutExpired as error:
        raise TmuxFailed(
            f"tmux did not answer on {run_dir / SOCKET_NAME} within {QUERY_TIMEOUT_S:.0f} s"
        ) from error
    return result.stdout.decode("utf-8", "replace") if result.returncode == 0 else ""


def _pidfd(pid: str) -> int | None:
    """A descriptor that becomes readable when the process ends; None if it has ended or on macOS."""
    try:
        return os.pidfd_open(int(pid))
    except (AttributeError, ValueError, OSError):
        return None


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in ("TMUX", "TMUX_PANE")}
