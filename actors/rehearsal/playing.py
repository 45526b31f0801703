"""From a request and a script to the answer. Pure: the same request always gets the same answer."""

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
class Asked:
    """A request's messages and who sends it, as far as its system message says."""

    messages: tuple[Mapping[str, Any], ...]
    role: str
    agent: str
    digest: str
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says: `calls` as (tool, arguments). `scene` is the index in the script, None without."""

    text: str
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    delay_ms: float = 0
    token_delay_ms: float = 0
    scene: int | None = None
    reply: ScriptedReply | None = None


def read_request(body: Mapping[str, Any]) -> Asked:
    """What an `/api/chat` body asks. The digest leaves sampling out: another seed is no new request."""
    messages = tuple(m for m in body.get("messages") or () if isinstance(m, Mapping))
    system = next((_content(m) for m in messages if m.get("role") == "system"), "")
    role, agent = _ROLE.search(system), _AGENT.search(system)
    told = json.dumps([messages, body.get("tools") or []], sort_keys=True)
    return Asked(
        messages,
        role[1] if role else "",
        agent[1] if agent else "",
        hashlib.sha256(told.encode()).hexdigest(),
        tokens(told),
    )


def tokens(text: str) -> int:
    """The usual estimate, four characters a token."""
    return (len(text) + 3) // 4


def answer(script: Script, asked: Asked) -> Answer:
    """What the script says to this request. Never an error: a gap shows in the agent's window."""
    chosen = _select(script.scene, asked)
    if chosen is None:
        who = f"role {asked.role or 'unknown'}, agent {asked.agent or 'unknown'}"
        latest = next((_content(m) for m in reversed(asked.messages) if m.get("role") == "user"), "")
        gap = f"This rehearsal's script has no scene for {who}: {latest[:200]!r}"
        return Answer(gap, token_delay_ms=script.token_delay_ms)
    number, start, values = chosen
    since = asked.messages[start + 1 :]
    turn = sum(1 for message in since if message.get("role") == "assistant")
    replies = script.scene[number].reply
    if turn >= len(replies):
        return Answer(DONE, token_delay_ms=script.token_delay_ms, scene=number)
    reply = replies[turn]
    values = values | _captured(reply, since) | {"@role": asked.role, "@agent": asked.agent}
    calls = tuple((call.tool, _filled_table(call.arguments, values)) for call in reply.calls)
    pause_ms = script.token_delay_ms if reply.token_delay_ms is None else reply.token_delay_ms
    return Answer(_filled(reply.text, values), calls, reply.delay_ms, pause_ms, number, reply)


def _select(scenes: Sequence[Scene], asked: Asked) -> tuple[int, int, dict[str, str]] | None:
    """(scene's index, index of the user message that selects it, captured values), or None."""
    for index in range(len(asked.messages) - 1, -1, -1):
        if asked.messages[index].get("role") != "user":
            continue
        content = _content(asked.messages[index])
        for number, scene in enumerate(scenes):
            if scene.role not in (None, asked.role) or scene.agent not in (None, asked.agent):
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
    # Not str.format: scripts carry source code, whose braces must stay as they are.
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
