"""Streaming text on its way from an agent to the screen, as datagrams that nobody acknowledges."""

from __future__ import annotations

import json
from dataclasses import dataclass

LIVE_ADDRESS = "tmux-live"


@dataclass(frozen=True, slots=True)
class LivePiece:
    """A part of a streaming reply: the characters of its text from `offset` on.

    `stream` is the number of the model call. `is_over`: the call ended without a reply, so what was shown of
    it is to be removed.
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
