"""Bodies of history rows: what is stored of each, and that older rows stay readable."""

from __future__ import annotations

import json
from typing import Any

import pytest

from store.entries import (
    Body,
    Call,
    MaskBody,
    MessageBody,
    NoteBody,
    NudgeBody,
    ReplyBody,
    ReplyCost,
    SummaryBody,
    SystemBody,
    ToolResultBody,
    decode,
)
from store.states import EntryKind

LS = Call("shell", {"command": "ls", "timeout_s": 5})
COST = ReplyCost(9, 8, 7, 0.0, 1.5, 2.5, 4.5, 0.1, 300)
COST_JSON = {
    "prompt_tokens": 9, "cached_tokens": 8, "generated_tokens": 7, "load_ms": 0.0, "prefill_ms": 1.5,
    "generation_ms": 2.5, "total_ms": 4.5, "queue_ms": 0.1, "prompt_characters": 300,
}  # fmt: skip
STORED: list[tuple[Body, dict[str, Any]]] = [
    (SystemBody("Be good."), {"text": "Be good."}),
    (MessageBody("pm", "text", "Do it."), {"sender": "pm", "kind": "text", "text": "Do it."}),
    (
        ReplyBody("Yes.", (LS,), ("too long",), "length", COST, "http://host", 7),
        {
            "text": "Yes.", "calls": [{"name": "shell", "arguments": {"command": "ls", "timeout_s": 5}}],
            "problems": ["too long"], "done_reason": "length", "cost": COST_JSON, "host": "http://host", "stream": 7,
        },
    ),
    (
        ToolResultBody(3, 1, "shell", "a.py", True, False),
        {"reply": 3, "position": 1, "tool": "shell", "text": "a.py", "ok": True, "settled": False},
    ),
    (NudgeBody("Go on.", "loop"), {"text": "Go on.", "reason": "loop"}),
    (
        SummaryBody("- nothing yet", 1, (2, 5), 9, 8),
        {"text": "- nothing yet", "system": 1, "pinned": [2, 5], "keep_from": 9, "mask_to": 8},
    ),
    (MaskBody(12), {"text": "", "mask_to": 12}),
    (NoteBody("paused"), {"text": "paused"}),
]  # fmt: skip


@pytest.mark.parametrize(("body", "stored"), STORED, ids=[type(body).__name__ for body, _ in STORED])
def test_a_body_is_stored_in_this_shape_and_read_back_equal(body: Body, stored: dict[str, Any]) -> None:
    assert body.as_json() == stored
    assert decode(body.entry_kind.value, json.loads(json.dumps(stored))) == body


def test_every_kind_of_row_has_a_body() -> None:
    assert {body.entry_kind for body, _ in STORED} == set(EntryKind)


def test_costs_that_the_server_did_not_report_are_not_stored() -> None:
    assert ReplyBody("", cost=ReplyCost(generated_tokens=0)).as_json()["cost"] == {"generated_tokens": 0}


@pytest.mark.parametrize("kind", ["system", "message", "reply", "nudge", "note"])
def test_a_row_that_lacks_keys_is_still_readable(kind: str) -> None:
    assert decode(kind, {}).text == ""


def test_unknown_keys_of_a_row_are_ignored() -> None:
    stored = {"text": "Hi.", "cost": {"prompt_tokens": 3, "joules": 5}, "mood": "good"}
    assert decode("reply", stored) == ReplyBody("Hi.", cost=ReplyCost(prompt_tokens=3))
