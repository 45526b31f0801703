"""Sends streaming text from an agent to the screen, in datagrams that are not acknowledged."""

from __future__ import annotations

import json
from dataclasses import dataclass

from actors.runtime.wake import Waker

LIVE_ADDRESS = "tmux-live"
MAX_CHARACTERS = 1_500  # per datagram; fits in any encoding


@dataclass(frozen=True, slots=True)
class LivePiece:
    """A part of a streaming reply: the characters of its text from `offset` on.

    `stream` is the number of the model call. `is_over`: the call ended without a reply, so the
    screen removes its text.
    """

    agent: str
    stream: int
    offset: int
    text: str
    is_over: bool = False

    def encode(self) -> bytes:
        """The datagram: a JSON array, which is shorter than an object."""
        return json.dumps([self.agent, self.stream, self.offset, self.text, self.is_over]).encode()

    @classmethod
    def decode(cls, datagram: bytes) -> LivePiece:
        """The piece in a datagram. Raises `ValueError` or `TypeError` for anything else."""
        return cls(*json.loads(datagram))


@dataclass(slots=True)
class LiveStream:
    """Sends the text of one model call as it arrives. Pieces may be lost; the stored row is authoritative."""

    waker: Waker
    agent: str
    stream: int
    offset: int = 0

    def send(self, text: str) -> None:
        """Send the next piece of text."""
        for start in range(0, len(text), MAX_CHARACTERS):
            part = text[start : start + MAX_CHARACTERS]
            self._send(part)
            self.offset += len(part)

    def discard(self) -> None:
        """Remove the text of this call from the screen, because the call failed or was cancelled."""
        self._send("", is_over=True)

    def _send(self, text: str, *, is_over: bool = False) -> None:
        piece = LivePiece(self.agent, self.stream, self.offset, text, is_over)
        self.waker.send(LIVE_ADDRESS, piece.encode())
