"""What reaches the model's server over a crew's life, byte by byte: the prefix cache is worth nothing else."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.rehearsal.script import parse_script
from actors.rehearsal.server import RehearsalServer
from store import crew
from tests.support.crews import send_signal
from tests.support.nights import Night, script
from tests.support.recording import RecordingProxy
from tests.support.waiting import eventually

SLOW_MS = 250  # long enough to be killed in the middle of


@pytest.fixture
def proxy() -> Iterator[RecordingProxy]:
    told: dict[str, Any] = script()
    for scene in told["scene"]:
        if scene["role"] == "engineer":
            scene["reply"] = [{**reply, "delay_ms": SLOW_MS} for reply in scene["reply"]]
    with RehearsalServer(parse_script(told)) as server, RecordingProxy(server.url) as made:
        yield made


def test_the_prompt_only_grows_from_step_to_step_and_a_kill_changes_no_byte(
    tmp_path: Path, proxy: RecordingProxy
) -> None:
    night = Night(tmp_path / "night", proxy.url)
    night.folder.mkdir()
    night.prepare()
    try:
        night.start()
        eventually(lambda: len(_of(proxy.chats, "engineer-1.night")) >= 2, "it asks again", within_s=30)
        asked = _of(proxy.chats, "engineer-1.night")[-1]
        before = crew.agent(night.store, "engineer-1.night")
        assert before.pid is not None
        send_signal(before.pid)
        night.play()
        assert crew.agent(night.store, "engineer-1.night").generation > before.generation
    finally:
        night.close()
    chats = _of(proxy.chats, "engineer-1.night")
    assert _hash(asked) in [_hash(body) for body in chats[chats.index(asked) + 1 :]], "asked anew, otherwise"
    for name, bodies in _by_agent(proxy.chats).items():
        for earlier, later in itertools.pairwise(bodies):
            if _begins_anew(earlier, later):
                continue
            assert later.startswith(_prefix(earlier)), f"{name}: {_first_difference(earlier, later)}"
    runners = {json.dumps(_runner(body), sort_keys=True) for body in proxy.chats}
    assert len(runners) == 1, f"options that reload the model differ: {runners}"


def _of(chats: list[bytes], agent: str) -> list[bytes]:
    return [body for body in list(chats) if _agent(body) == agent]


def _by_agent(chats: list[bytes]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = defaultdict(list)
    for body in chats:
        found[_agent(body)].append(body)
    return found


def _agent(body: bytes) -> str:
    found = re.search(rb"\\nagent: (\S+?)\\n", body)
    assert found is not None, body[:300]
    return found[1].decode()


def _prefix(body: bytes) -> bytes:
    """Model and messages, as bytes, up to where the next message would be added."""
    # An unescaped quote cannot stand inside a string, so this is the end of the list.
    return body[: body.index(b'],"stream"')]


def _begins_anew(earlier: bytes, later: bytes) -> bool:
    """A fresh context: another task is told right after the system message."""
    first, second = (json.loads(body)["messages"][1] for body in (earlier, later))
    return bool(first != second)


def _runner(body: bytes) -> dict[str, Any]:
    told = json.loads(body)
    sampling = {"temperature", "top_p", "top_k", "repeat_penalty", "seed", "num_predict"}
    options = {key: value for key, value in told["options"].items() if key not in sampling}
    return {"model": told["model"], "shift": told["shift"], "truncate": told["truncate"], **options}


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _first_difference(earlier: bytes, later: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(earlier, later, strict=False)) if a != b), -1)
    return f"{earlier[at - 60 : at + 60]!r} became {later[at - 60 : at + 60]!r}"
