"""The tmux actor: alone renders what agents do, into files that tmux windows show.

Committed history is the truth: a window's file is rebuilt from it after any loss. Live tokens arrive
as datagrams that nobody acknowledges; losing some costs nothing but their sight.
"""

from __future__ import annotations

import shutil
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
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
from store.entries import MaskBody
from store.failpoints import failpoint
from store.rows import Agent

REBUILT_ROWS = 400
RECONCILE_S = 3.0
DATAGRAM_BYTES = 65_536


class TmuxActor(MessageActor):
    """Its mailbox is only a wake: whoever commits history wakes it."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self._files: dict[str, WindowFile] = {}
        self._shown_to = 0
        self._reconciled_at = 0.0
        self._has_stranger = True
        self._broken: str | None = None
        self._windows: Windows | None = None

    def recover(self) -> None:
        """Enter the socket's folder, listen for live tokens, start from what is committed."""
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
        """On its own thread: hand datagrams to the actor's."""
        while True:
            data = live.recv(DATAGRAM_BYTES)
            with suppress(ValueError, TypeError):
                self.actor_ref.tell(LivePiece.decode(data))

    def on_receive(self, message: Any) -> Any:
        if not isinstance(message, LivePiece):
            return super().on_receive(message)
        file = self._files.get(message.agent)
        if file is not None:
            with self._showing():
                if message.is_over:
                    file.drop_live(message.stream)
                else:
                    file.append_live(message.stream, message.offset, message.text, datetime.now(UTC))
        return None

    def tick(self) -> float:
        """Draw what is new, and see that every window is there."""
        now = self.now()
        if self._windows is None:
            return now + 3600.0
        self._draw_new()
        if self._has_stranger or now - self._reconciled_at >= RECONCILE_S:
            self._arrange([row for row in crew.all_agents(self.store) if _is_shown(row)])
            self._has_stranger, self._reconciled_at = False, now
        return now + RECONCILE_S

    def _arrange(self, rows: list[Agent]) -> None:
        """A file and a window for each agent; not at every wake, for that would cost more the more there are."""
        for row in rows:
            file = self._files.get(row.name)
            if file is None or file.needs_rebuild:
                self._rebuild(row.name)
        self._reconcile(rows)

    def _rebuild(self, name: str) -> None:
        file = self._files.setdefault(name, WindowFile(self._path(name), name))
        entries = [e for e in history.newest(self.store, name, most=REBUILT_ROWS) if e.id <= self._shown_to]
        with self._showing():
            file.rebuild([entry for entry in entries if not isinstance(entry.body, MaskBody)])

    def _draw_new(self) -> None:
        while entries := history.since(self.store, self._shown_to):
            for entry in entries:
                file = self._files.get(entry.agent)
                if file is None or file.needs_rebuild:
                    self._has_stranger = True
                elif not isinstance(entry.body, MaskBody):  # people see all of a tool's output
                    with self._showing():
                        file.commit(entry)
                        failpoint("line_drawn")
                self._shown_to = entry.id

    def _reconcile(self, rows: list[Agent]) -> None:
        wanted = []
        for row in rows:
            project = row.project
            session = project or ORCHESTRATOR
            window = row.name.removesuffix(f".{project}") if project else row.name
            wanted.append(WindowSpec(session, window, row.name, self._path(row.name)))
        assert self._windows is not None
        with self._showing():
            changes = self._windows.reconcile(wanted)
            failpoint("windows_arranged")
            if changes:
                log.info("windows_changed", created=len(changes.created), removed=len(changes.removed))

    def _path(self, name: str) -> Any:
        return self.runtime.home.windows / f"{name}.ansi"

    def _showing(self) -> _Shown:
        return _Shown(self)

    def report(self, error: ScreenError) -> None:
        """What cannot be shown is logged once; the crew works on without being watched."""
        if str(error) != self._broken:
            self._broken = str(error)
            log.warning("screen_failed", reason=str(error))


@dataclass(frozen=True, slots=True)
class _Shown:
    """Keeps a screen's trouble from ending the actor: the next tick tries again."""

    actor: TmuxActor

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        if isinstance(error, ScreenError):
            self.actor.report(error)
            return True
        return False


def _is_shown(row: Agent) -> bool:
    return row.kind in ("agent", "gate")
