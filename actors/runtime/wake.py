"""Wakes another process with an empty Unix datagram, which may be lost or coalesced.

All state is in the store, which every actor polls. So a wake-up only reduces latency.
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
    """The path of the socket on which the actor `name` listens. Only the user may access `run_dir`."""
    return run_dir / (re.sub(r"[^\w.-]", "_", name) + ".wake")


class WakeSocket:
    """The socket on which one process receives its wake-ups."""

    def __init__(self, run_dir: Path, name: str) -> None:
        """Bind the socket, replacing the file of a killed incarnation. The caller holds the actor's lock."""
        self.path = socket_path(run_dir, name)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.path.unlink(missing_ok=True)
        with _address(self.path) as address:
            if address is not None:
                self.socket.bind(address)
                self.path.chmod(0o600)

    def fileno(self) -> int:
        """The descriptor to select on for reading."""
        return self.socket.fileno()

    def drain(self) -> None:
        """Read all datagrams that have arrived. Any number of them counts as one wake-up."""
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
    """Sends wake-ups to all recipients through one socket. It never blocks and never raises."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        # The address of each recipient whose path fits. Kept, because building a path costs more than sending.
        self._known: dict[str, str] = {}

    def __call__(self, recipients: Iterable[str]) -> None:
        """Wake each recipient. One that does not listen, or whose queue is full, reads its mailbox at its next poll."""
        for recipient in recipients:
            self.send(recipient, b"")

    def send(self, recipient: str, datagram: bytes) -> None:
        """Send one datagram if the recipient can receive it now.

        A lost datagram delays the recipient until its next poll, or loses a piece of live text.
        """
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
    """The socket's path, or a shorter equivalent one. None if neither fits the limit (macOS with a long home).

    A recipient without an address relies on polling.
    """
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
