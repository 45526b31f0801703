"""Keeps a tmux server on a private socket showing one window per agent. Called by the tmux actor alone.

A window runs `tail -F` on the agent's window file. tmux only shows: whatever is killed here, server, window
or pane, is found by the next `reconcile` and made again.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actors.screen.attach import kill_server
from actors.screen.errors import TmuxFailed, TmuxMissing
from actors.screen.plan import ROW_FORMAT, Plan, Row, WindowSpec, parse_rows, plan, tmux_name
from actors.screen.tmux_config import CONFIG_NAME, SOCKET_NAME, config_text, literal

if TYPE_CHECKING:
    from libtmux import Server

# tmux refuses a command longer than one imsg (16 KiB).
MAX_COMMAND_BYTES = 12_000
TAIL_LINES = 1_000
# stderr: GNU tail reports each atomic replacement of the file there, and that would show in the window.
# -s: the poll of a tail that got no inotify instance (a user has 128), which would be 1 s otherwise.
_POLL = "-s 0.1" if sys.platform == "linux" else ""
_TAIL_SCRIPT = f'exec tail -n {TAIL_LINES} {_POLL} -F "$1" 2>/dev/null'

Command = list[str]


@dataclass(frozen=True, slots=True)
class Changes:
    """What one `reconcile` did, by agent; false if there was nothing to do."""

    created: tuple[str, ...] = ()
    revived: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.created or self.revived or self.removed)


def enter_run_dir(run_dir: Path) -> None:
    """Make this PROCESS one that can drive the crew's tmux; called once, by the tmux actor's process.

    A unix socket's path holds 107 bytes and a crew's home may be longer, so the socket is named relative to
    the working directory. libtmux hands on the environment: it needs a UTF-8 locale, and a `TMUX` inherited
    from the person's own tmux would make ours refuse to nest.
    """
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chdir(run_dir)
    os.environ["LC_ALL"] = "C.UTF-8"
    for name in ("TMUX", "TMUX_PANE"):
        os.environ.pop(name, None)


class Windows:
    """The crew's tmux server. Not thread-safe; the process must have called `enter_run_dir(run_dir)`."""

    def __init__(self, run_dir: Path, prompt_argv: Sequence[str]) -> None:
        """`prompt_argv`: the command that asks for a message; no shell runs it, the agent's name follows."""
        self._run_dir = run_dir
        self._prompt_argv = tuple(prompt_argv)
        self._server: Server | None = None

    def reconcile(self, wanted: Sequence[WindowSpec]) -> Changes:
        """Bring tmux to exactly these windows (and leave those that a person opened).

        One tmux process when nothing is to be done. Raises `TmuxMissing`, or `TmuxFailed` if some window
        could not be made although all others were tried.
        """
        first = plan(wanted, self._rows())
        if not first:
            return Changes()
        if not first.session_names:
            self._start()
        if _run_all(self, _batches(_commands(first))):
            # One bad command stops its batch: look again, and give every window its own try.
            failures = _run_all(self, _commands(plan(wanted, self._rows())))
            if failures:
                raise TmuxFailed(f"tmux could not show all windows: {'; '.join(failures)}")
        return Changes(
            tuple(spec.agent for spec in first.create),
            tuple(spec.agent for _, spec in first.revive),
            tuple(agent for _, agent in first.kill_window_ids),
        )

    def kill_server(self) -> None:
        """End the tmux server with all windows and wait until it is gone; harmless if there is none."""
        kill_server(self._run_dir)

    def _rows(self) -> list[Row]:
        """The running server's panes; none if there is no server."""
        _, lines = self._run(["list-panes", "-a", "-F", ROW_FORMAT])
        return parse_rows(lines)

    def _start(self) -> None:
        """Start the server if there is none, by a command of its own: `ps` shows the one that started it."""
        complaint, _ = self._run(["start-server"])
        if complaint:
            raise TmuxFailed(f"tmux does not start on {self._run_dir / SOCKET_NAME}: {complaint}")

    def _run(self, command: Command) -> tuple[str, list[str]]:
        """One tmux process: what it complained of (empty if it succeeded) and the lines it printed."""
        from libtmux.exc import TmuxCommandNotFound

        try:
            result = self._connected().cmd(command[0], *command[1:])
        except TmuxCommandNotFound as error:
            raise TmuxMissing from error
        complaint = "" if result.returncode == 0 else " ".join(result.stderr) or "no reason given"
        return complaint, result.stdout

    def _connected(self) -> Server:
        """The server's handle; the first use writes the configuration and hands it to a running server."""
        if self._server is None:
            import libtmux

            if shutil.which("tmux") is None:
                raise TmuxMissing
            if not self._run_dir.samefile("."):
                raise TmuxFailed(f"the working directory is not {self._run_dir}; call enter_run_dir first")
            config = self._run_dir / CONFIG_NAME
            config.write_text(config_text(self._prompt_argv), encoding="utf-8", errors="surrogateescape")
            server = libtmux.Server(socket_path=SOCKET_NAME, config_file=CONFIG_NAME)
            # No server yet: this fails, and its start reads the file. Absolute, as tmux 3.3 does not find a
            # relative one below a folder with `#` in its name.
            server.cmd("source-file", literal(str(config)))
            self._server = server
        return self._server


def _commands(todo: Plan) -> list[Command]:
    """One chained command per window. New ones first: a session ends with its last window."""
    sessions = set(todo.session_names)
    commands = []
    for spec in todo.create:
        session = tmux_name(spec.session)
        commands.append(_create(spec, session, new_session=session not in sessions))
        sessions.add(session)
    commands += [_revive(pane_id, spec) for pane_id, spec in todo.revive]
    commands += [["kill-window", "-t", window_id] for window_id, _ in todo.kill_window_ids]
    return commands


def _create(spec: WindowSpec, session: str, *, new_session: bool) -> Command:
    # {end} is the window with the highest index: the one just made, as tmux runs the chain in one go.
    end = f"={session}:{{end}}"
    if new_session:
        make = ["new-session", "-d", "-x", "200", "-y", "50", "-s", session]
    else:
        make = ["new-window", "-d", "-a", "-t", end]
    return [
        *(*make, "-n", tmux_name(spec.window), *_tail(spec), ";"),
        *("set-option", "-p", "-t", end, "@nightcrew", spec.mark, ";"),
        *("set-option", "-w", "-t", end, "@agent", spec.agent, ";"),
        *("set-option", "-w", "-t", end, "remain-on-exit", "on", ";"),
        # No input: what is typed would be echoed between the agent's lines, and Ctrl-C would end tail.
        *("select-pane", "-d", "-t", end),
    ]


def _revive(pane_id: str, spec: WindowSpec) -> Command:
    # The history is cleared first, or the lines of before the death would stand there twice.
    return [
        *("clear-history", "-t", pane_id, ";"),
        *("respawn-pane", "-k", "-t", pane_id, *_tail(spec), ";"),
        *("select-pane", "-d", "-t", pane_id),
    ]


def _tail(spec: WindowSpec) -> Command:
    return ["sh", "-c", _TAIL_SCRIPT, "nightcrew-window", literal(str(spec.file))]


def _batches(commands: Sequence[Command]) -> list[Command]:
    """The commands joined into as few tmux processes as their lengths allow."""
    batches: list[Command] = []
    size = 0
    for command in commands:
        length = sum(len(os.fsencode(argument)) + 1 for argument in command) + 2
        if batches and size + length <= MAX_COMMAND_BYTES:
            batches[-1] += [";", *command]
            size += length
        else:
            batches.append(list(command))
            size = length
    return batches


def _run_all(windows: Windows, commands: Sequence[Command]) -> list[str]:
    """Run each; what failed, as tmux says it."""
    return [complaint for command in commands if (complaint := windows._run(command)[0])]
