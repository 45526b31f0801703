"""The faults of the scripted server, and the requests that they hit. Pure: the server counts the requests.

A fault hits a fixed share of all distinct requests, chosen by the script's seed and the request's hash. It hits the
first `times` attempts of such a request; later attempts get their answer. So a run with faults ends, and another run
of the same script fails in the same places.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class FaultKind(StrEnum):
    """Faults of real servers (first block) and of real models (second block)."""

    RUNNER_DIED = "500"
    PARSE_ERROR = "parse error"
    BUSY = "503"
    NOT_FOUND = "404"
    TOO_LONG = "400"
    HANG = "hang"  # accepts the request, then sends nothing
    STALL = "stall"  # stops sending in the middle of the answer
    GARBAGE_LINE = "garbage line"
    ERROR_LINE = "error line"  # {"error": …} inside a 200 stream
    NO_DONE = "no done"
    DROP = "drop"  # closes the connection in the middle of the answer

    STRING_ARGUMENTS = "string arguments"
    LEAKED_CALL = "leaked call"  # XML in the text, without the opening <tool_call>
    LEAKED_JSON = "leaked json"
    EMPTY = "empty"
    LENGTH = "length"
    UNKNOWN_TOOL = "unknown tool"


class Fault(BaseModel):
    """One `[[fault]]` of a script. `role` and `agent` limit it to their requests."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: FaultKind
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    times: Annotated[int, Field(ge=1)] = 1
    role: str | None = None
    agent: str | None = None


def choose_fault(
    faults: Sequence[Fault], *, seed: int, request_hash: str, times_seen: int, role: str, agent: str
) -> FaultKind | None:
    """The fault for this request, if any. `times_seen` counts earlier identical requests."""
    digest = hashlib.sha256(f"{seed}:{request_hash}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    for fault in faults:
        if fault.role not in (None, role) or fault.agent not in (None, agent):
            continue
        if position < fault.share:
            return fault.kind if times_seen < fault.times else None
        position -= fault.share
    return None
