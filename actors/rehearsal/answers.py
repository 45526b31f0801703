"""Chooses the answer to a request from a script. Pure: the same request always gets the same answer."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.rehearsal.script import Scene, Script, ScriptedReply

_ROLE = re.compile(r"\Arole:[ \t]*(\S+)")
_AGENT = re.compile(r"^agent:[ \t]*(\S+)", re.MULTILINE)
DONE = "Done."


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """An `/api/chat` request. `role` and `agent` are from its system message, empty if that has none."""

    messages: tuple[Mapping[str, Any], ...]
    role: str
    agent: str
    digest: str
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The scripted answer. `calls` are pairs of tool and arguments; `scene` is an index in the script, if any."""

    text: str
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    delay_ms: float = 0
    token_delay_ms: float = 0
    scene: int | None = None
    reply: ScriptedReply | None = None


def read_request(body: Mapping[str, Any]) -> ChatRequest:
    """Parse the body of an `/api/chat` request. Its digest ignores the sampling: a retry with another seed is the
    same request."""
    messages = tuple(m for m in body.get("messages") or () if isinstance(m, Mapping))
    system = next((_content(m) for m in messages if m.get("role") == "system"), "")
    role, agent = _ROLE.search(system), _AGENT.search(system)
    content = json.dumps([messages, body.get("tools") or []], sort_keys=True)
    return ChatRequest(
        messages,
        role[1] if role else "",
        agent[1] if agent else "",
        hashlib.sha256(content.encode()).hexdigest(),
        tokens(content),
    )


def tokens(text: str) -> int:
    """The estimated number of tokens: four characters each."""
    return (len(text) + 3) // 4


def answer_to(script: Script, request: ChatRequest) -> Answer:
    """The script's answer. If no scene fits, a text says so, which then shows in the agent's window."""
    chosen = _select(script.scene, request)
    if chosen is None:
        who = f"role {request.role or 'unknown'}, agent {request.agent or 'unknown'}"
        latest = next((_content(m) for m in reversed(request.messages) if m.get("role") == "user"), "")
        text = f"This rehearsal's script has no scene for {who}: {latest[:200]!r}"
        return Answer(text, token_delay_ms=script.token_delay_ms)
    number, start, values = chosen
    since = request.messages[start + 1 :]
    turn = sum(1 for message in since if message.get("role") == "assistant")
    replies = script.scene[number].reply
    if turn >= len(replies):
        return Answer(DONE, token_delay_ms=script.token_delay_ms, scene=number)
    reply = replies[turn]
    values = values | _captured(reply, since) | {"@role": request.role, "@agent": request.agent}
    calls = tuple((call.tool, _filled_table(call.arguments, values)) for call in reply.calls)
    pause_ms = script.token_delay_ms if reply.token_delay_ms is None else reply.token_delay_ms
    return Answer(_filled(reply.text, values), calls, reply.delay_ms, pause_ms, number, reply)


def _select(scenes: Sequence[Scene], request: ChatRequest) -> tuple[int, int, dict[str, str]] | None:
    """The index of the scene and of the user message that selects it, and the captured values; None without."""
    for index in range(len(request.messages) - 1, -1, -1):
        if request.messages[index].get("role") != "user":
            continue
        content = _content(request.messages[index])
        for number, scene in enumerate(scenes):
            if scene.role not in (None, request.role) or scene.agent not in (None, request.agent):
                continue
            if (values := _matches(scene, content)) is not None:
                return number, index, values
    return None


def _matches(scene: Scene, content: str) -> dict[str, str] | None:
    if scene.when_regex is not None:
        found = re.search(scene.when_regex, content, re.MULTILINE)
        return None if found is None else _groups(found)
    return {} if scene.when is None or scene.when in content else None


def _captured(reply: ScriptedReply, since: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    if reply.capture is None:
        return {}
    for message in reversed(since):
        if message.get("role") == "tool" and (
            found := re.search(reply.capture, _content(message), re.MULTILINE)
        ):
            return _groups(found)
    return {}


def _groups(found: re.Match[str]) -> dict[str, str]:
    return {name: value for name, value in found.groupdict().items() if value is not None}


def _filled(text: str, values: Mapping[str, str]) -> str:
    # Not str.format: scripts contain source code, whose braces must stay.
    return re.sub(r"\{(@?\w+)\}", lambda found: values.get(found[1], found[0]), text)


def _filled_table(table: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    return {key: _filled_value(value, values) for key, value in table.items()}


def _filled_value(value: object, values: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return _filled(value, values)
    if isinstance(value, Mapping):
        return _filled_table(value, values)
    if isinstance(value, list):
        return [_filled_value(item, values) for item in value]
    return value


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else ""
