"""A tmux server on a private socket with one window per agent. Only the tmux actor uses it.

A window runs `tail -F` on the agent's window file. If the server, a window or a pane ends, the next `reconcile`
creates it again.
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
from actors.screen.plan import PANE_FORMAT, Pane, Plan, WindowSpec, parse_panes, plan, tmux_name
from actors.screen.tmux_config import CONFIG_NAME, SOCKET_NAME, config_text, literal

if TYPE_CHECKING:
    from libtmux import Server

# tmux refuses commands longer than 16 KiB (one imsg).
MAX_COMMAND_BYTES = 12_000
TAIL_LINES = 1_000
# 2>/dev/null: GNU tail reports each replacement of the file on stderr, which would appear in the window.
# -s: poll often if tail gets no inotify instance, of which a user has 128; the default is once a second.
_POLL = "-s 0.1" if sys.platform == "linux" else ""
_TAIL_SCRIPT = f'exec tail -n {TAIL_LINES} {_POLL} -F "$1" 2>/dev/null'

Command = list[str]


@dataclass(frozen=True, slots=True)
class Changes:
    """What one `reconcile` changed, as names of agents. False if it changed nothing."""

    created: tuple[str, ...] = ()
    revived: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.created or self.revived or self.removed)


def enter_run_dir(run_dir: Path) -> None:
    """Prepare this process for driving the crew's tmux: changes its working directory and environment.

    The path of a Unix socket has at most 107 bytes, and a crew's folder may be longer, so the socket is named
    relative to the working directory. tmux inherits the environment: it needs a UTF-8 locale, and a `TMUX` from
    the user's own tmux would make it refuse to nest.
    """
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chdir(run_dir)
    os.environ["LC_ALL"] = "C.UTF-8"
    for name in ("TMUX", "TMUX_PANE"):
        os.environ.pop(name, None)


class Windows:
    """The crew's tmux server. Not thread-safe. The process must call `enter_run_dir(run_dir)` before."""

    def __init__(self, run_dir: Path, prompt_argv: Sequence[str]) -> None:
        """`prompt_argv`: the command that prompts for a message, run without a shell; the agent is appended."""
        self._run_dir = run_dir
        self._prompt_argv = tuple(prompt_argv)
        self._server: Server | None = None

    def reconcile(self, wanted: Sequence[WindowSpec]) -> Changes:
        """Make tmux show exactly these windows, besides those that people opened.

        Runs one tmux process if nothing has to change. Raises `TmuxMissing`, or `TmuxFailed` after trying all
        windows if some could not be created.
        """
        first = plan(wanted, self._panes())
        if not first:
            return Changes()
        if not first.session_names:
            self._start()
        if _run_all(self, _batches(_commands(first))):
            # A failed command stops its batch: plan again, and try each window separately.
            failures = _run_all(self, _commands(plan(wanted, self._panes())))
            if failures:
                raise TmuxFailed(f"tmux could not show all windows: {'; '.join(failures)}")
        return Changes(
            tuple(spec.agent for spec in first.create),
            tuple(spec.agent for _, spec in first.revive),
            tuple(agent for _, agent in first.kill_window_ids),
        )

    def kill_server(self) -> None:
        """End the tmux server with all its windows, and wait for its end; harmless if there is none."""
        kill_server(self._run_dir)

    def _panes(self) -> list[Pane]:
        """The panes of the running server; empty if there is no server."""
        _, lines = self._run(["list-panes", "-a", "-F", PANE_FORMAT])
        return parse_panes(lines)

    def _start(self) -> None:
        """Start the server by a separate command, because `ps` shows the command that started it."""
        problem, _ = self._run(["start-server"])
        if problem:
            raise TmuxFailed(f"tmux does not start on {self._run_dir / SOCKET_NAME}: {problem}")

    def _run(self, command: Command) -> tuple[str, list[str]]:
        """Run one tmux process; returns its error message (empty if it succeeded) and its output lines."""
        from libtmux.exc import TmuxCommandNotFound

        try:
            result = self._connected().cmd(command[0], *command[1:])
        except TmuxCommandNotFound as error:
            raise TmuxMissing from error
        problem = "" if result.returncode == 0 else " ".join(result.stderr) or "no reason given"
        return problem, result.stdout

    def _connected(self) -> Server:
        """The libtmux server. The first use writes the configuration; a running server reads it."""
        if self._server is None:
            import libtmux

            if shutil.which("tmux") is None:
                raise TmuxMissing
            if not self._run_dir.samefile("."):
                raise TmuxFailed(f"the working directory is not {self._run_dir}; call enter_run_dir first")
            config = self._run_dir / CONFIG_NAME
            config.write_text(config_text(self._prompt_argv), encoding="utf-8", errors="surrogateescape")
            server = libtmux.Server(socket_path=SOCKET_NAME, config_file=CONFIG_NAME)
            # Without a server this fails, and the server reads the file when it starts. The path is absolute,
            # because tmux 3.3 does not find a relative one in a folder with `#` in its name.
            server.cmd("source-file", literal(str(config)))
            self._server = server
        return self._server


def _commands(todo: Plan) -> list[Command]:
    """One chained command per window. New windows first, because a session ends with its last window."""
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
    # {end} is the window with the highest index. tmux runs the chain uninterrupted, so it is the new window.
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
        # Disable input: typed text would appear between the agent's lines, and Ctrl-C would end tail.
        *("select-pane", "-d", "-t", end),
    ]


def _revive(pane_id: str, spec: WindowSpec) -> Command:
    # Clear the scrollback first, otherwise the earlier lines would appear twice.
    return [
        *("clear-history", "-t", pane_id, ";"),
        *("respawn-pane", "-k", "-t", pane_id, *_tail(spec), ";"),
        *("select-pane", "-d", "-t", pane_id),
    ]


def _tail(spec: WindowSpec) -> Command:
    return ["sh", "-c", _TAIL_SCRIPT, "nightcrew-window", literal(str(spec.file))]


def _batches(commands: Sequence[Command]) -> list[Command]:
    """Join the commands into as few tmux processes as the length limit allows."""
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
    """Run each command; returns tmux's error messages."""
    return [problem for command in commands if (problem := windows._run(command)[0])]
