"""The tmux actor: writes what agents do into files, and keeps a tmux window open on each file.

Committed history is the truth: a window's file is rebuilt from it after any loss. Live text arrives in datagrams
without acknowledgement. A lost one only leaves a gap in the preview.
"""

from __future__ import annotations

import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from actors import log
from actors.runtime.addresses import ORCHESTRATOR
from actors.runtime.context import Runtime
from actors.runtime.handler import MessageActor
from actors.runtime.live import LIVE_ADDRESS, LivePiece
from actors.runtime.wake import WakeSocket
from actors.screen.errors import ScreenError
from actors.screen.files import WindowFile
from actors.screen.plan import WindowSpec
from actors.screen.windows import Windows, enter_run_dir
from store import crew, history
from store.entries import Entry, MaskBody
from store.failpoints import failpoint
from store.rows import Agent

REBUILT_ROWS = 400
RECONCILE_S = 3.0
IDLE_S = 3600.0
DATAGRAM_BYTES = 65_536


class TmuxActor(MessageActor):
    """Receives no messages: whoever commits history wakes it, and `tick` shows the new rows."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self._files: dict[str, WindowFile] = {}
        self._shown_to = 0
        self._reconciled_at = 0.0
        self._must_reconcile = True
        self._last_error: str | None = None
        self._windows: Windows | None = None

    def recover(self) -> None:
        """Listen for live text. Without tmux the actor does nothing."""
        self._shown_to = history.last_id(self.store)
        if shutil.which("tmux") is None:
            log.warning("tmux_missing", reason="no windows to watch; install tmux to see them")
            return
        prompt = [sys.executable, "-m", "supervisor.cli", "--home", str(self.runtime.home.path), "prompt"]
        enter_run_dir(self.runtime.home.run)
        self._windows = Windows(self.runtime.home.run, prompt)
        live = WakeSocket(self.runtime.home.run, LIVE_ADDRESS)
        live.socket.setblocking(True)
        threading.Thread(target=self._listen, args=(live.socket,), name="live", daemon=True).start()

    def _listen(self, live: socket.socket) -> None:
        """Runs on a thread of its own: pass each datagram to the actor's thread."""
        while True:
            data = live.recv(DATAGRAM_BYTES)
            with suppress(ValueError, TypeError):
                self.actor_ref.tell(LivePiece.decode(data))

    def on_receive(self, message: Any) -> Any:
        """Show a piece of live text; everything else is the base's."""
        if not isinstance(message, LivePiece):
            return super().on_receive(message)
        file = self._files.get(message.agent)
        if file is not None:
            with self._log_errors():
                if message.is_over:
                    file.drop_live(message.stream)
                else:
                    file.append_live(message.stream, message.offset, message.text, datetime.now(UTC))
        return None

    def tick(self) -> float:
        """Show new rows; now and then, or for a new agent, update files and windows."""
        now = self.now()
        if self._windows is None:
            return now + IDLE_S
        self._show_new_rows()
        # Not at every wake: the cost grows with the number of agents.
        if self._must_reconcile or now - self._reconciled_at >= RECONCILE_S:
            self._reconcile(self._windows)
            self._must_reconcile, self._reconciled_at = False, now
        return now + RECONCILE_S

    def _show_new_rows(self) -> None:
        while entries := history.since(self.store, self._shown_to):
            for entry in entries:
                self._show(entry)
                self._shown_to = entry.id

    def _show(self, entry: Entry) -> None:
        file = self._files.get(entry.agent)
        if file is None or file.needs_rebuild:
            self._must_reconcile = True
        elif _is_visible(entry):
            with self._log_errors():
                file.commit(entry)
                failpoint("line_drawn")

    def _reconcile(self, windows: Windows) -> None:
        """Make sure that every agent has a complete file and a window."""
        agents = [agent for agent in crew.all_agents(self.store) if agent.kind in ("agent", "gate")]
        for agent in agents:
            file = self._files.get(agent.name)
            if file is None or file.needs_rebuild:
                self._rebuild(agent.name)
        with self._log_errors():
            changes = windows.reconcile([self._window(agent) for agent in agents])
            failpoint("windows_arranged")
            if changes:
                log.info("windows_changed", created=len(changes.created), removed=len(changes.removed))

    def _rebuild(self, name: str) -> None:
        file = self._files.setdefault(name, WindowFile(self._path(name), name))
        entries = history.newest(self.store, name, most=REBUILT_ROWS)
        with self._log_errors():
            file.rebuild([entry for entry in entries if entry.id <= self._shown_to and _is_visible(entry)])

    def _window(self, agent: Agent) -> WindowSpec:
        """The agent's window: in the session of its project, under its short name."""
        session = agent.project or ORCHESTRATOR
        window = agent.name.removesuffix(f".{agent.project}") if agent.project else agent.name
        return WindowSpec(session, window, agent.name, self._path(agent.name))

    def _path(self, name: str) -> Path:
        return self.runtime.home.windows / f"{name}.ansi"

    @contextmanager
    def _log_errors(self) -> Iterator[None]:
        """Log a ScreenError, once per text, instead of failing: the next tick tries again."""
        try:
            yield
        except ScreenError as error:
            if str(error) != self._last_error:
                self._last_error = str(error)
                log.warning("screen_failed", reason=str(error))


def _is_visible(entry: Entry) -> bool:
    """Windows show a tool's full output, so skip the row that records its removal from the model's context."""
    return not isinstance(entry.body, MaskBody)
