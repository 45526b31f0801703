"""What a rehearsed model server does wrong, and on which requests. Pure: the server keeps the counts.

A fault hits a fixed share of all distinct requests, chosen by the script's seed and the request's hash, and
the first `times` times that such a request is made; asked again, it gets its answer. So a night with faults
ends, and the same night fails in the same places.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class FaultKind(StrEnum):
    """Failures of a real server (first block) and of a real model (second)."""

    RUNNER_DIED = "500"
    PARSE_ERROR = "parse error"
    BUSY = "503"
    NOT_FOUND = "404"
    TOO_LONG = "400"
    HANG = "hang"  # accepts, then never answers
    STALL = "stall"  # falls silent in the middle
    GARBAGE_LINE = "garbage line"
    ERROR_LINE = "error line"  # {"error": …} inside a 200 stream
    NO_DONE = "no done"
    DROP = "drop"  # the connection dies in the middle

    STRING_ARGUMENTS = "string arguments"
    LEAKED_CALL = "leaked call"  # XML in the text, without the opener
    LEAKED_JSON = "leaked json"
    EMPTY = "empty"
    LENGTH = "length"
    UNKNOWN_TOOL = "unknown tool"


class Fault(BaseModel):
    """One `[[fault]]` of a script. `role` and `agent` narrow it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: FaultKind
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    times: Annotated[int, Field(ge=1)] = 1
    role: str | None = None
    agent: str | None = None


def choose_fault(
    faults: Sequence[Fault], *, seed: int, request_hash: str, times_seen: int, role: str, agent: str
) -> FaultKind | None:
    """The fault that hits this request, if any. `times_seen` counts earlier identical requests."""
    digest = hashlib.sha256(f"{seed}:{request_hash}".encode()).digest()
    lot = int.from_bytes(digest[:8], "big") / 2**64
    for fault in faults:
        if fault.role not in (None, role) or fault.agent not in (None, agent):
            continue
        if lot < fault.share:
            return fault.kind if times_seen < fault.times else None
        lot -= fault.share
    return None
