"""Waking another process: a Unix datagram that carries nothing and may be lost or coalesced.

The truth is in the store and everyone polls it once in a while, so a wake only saves time.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_LONGEST_ADDRESS = 100  # Linux takes 107 bytes, macOS 103


def socket_path(run_dir: Path, name: str) -> Path:
    """Where `name` listens; `run_dir` is private to the user."""
    return run_dir / (re.sub(r"[^\w.-]", "_", name) + ".wake")


class WakeSocket:
    """The receiving end of one process."""

    def __init__(self, run_dir: Path, name: str) -> None:
        """Bind, replacing what a killed incarnation left behind. The caller holds the actor's lock."""
        self.path = socket_path(run_dir, name)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.path.unlink(missing_ok=True)
        with _address(self.path) as address:
            if address is not None:
                self.socket.bind(address)
                self.path.chmod(0o600)

    def fileno(self) -> int:
        """For a selector."""
        return self.socket.fileno()

    def drain(self) -> None:
        """Take every datagram that waits: any number of them is one wake."""
        while True:
            try:
                self.socket.recv(16)
            except (BlockingIOError, InterruptedError):
                return

    def close(self) -> None:
        """Stop listening; a second close is harmless."""
        self.socket.close()
        self.path.unlink(missing_ok=True)


class Waker:
    """The sending end: one socket for all recipients, never blocking, never failing."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        # Paths that are short enough to be addresses; made once, since building one costs more than sending.
        self._known: dict[str, str] = {}

    def __call__(self, recipients: Iterable[str]) -> None:
        """Wake each; one that does not listen, or whose queue is full, will poll."""
        for recipient in recipients:
            self.send(recipient, b"")

    def send(self, recipient: str, datagram: bytes) -> None:
        """Send one datagram if it can be taken now. A lost one costs a poll, or a live token's sight."""
        known = self._known.get(recipient)
        if known is not None:
            self._send(known, datagram)
            return
        path = socket_path(self._run_dir, recipient)
        with _address(path) as address:
            if address == str(path):
                self._known[recipient] = address
            if address is not None:
                self._send(address, datagram)

    def _send(self, address: str, datagram: bytes) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendto(datagram, address)

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str | None]:
    """The path, or a short way to it; None where there is none (macOS, long home): polling serves then."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
    elif sys.platform == "linux":
        try:
            folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            yield None
            return
        try:
            yield f"/proc/self/fd/{folder}/{path.name}"
        finally:
            os.close(folder)
    else:
        yield None
