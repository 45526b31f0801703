r"""The script of a rehearsal: what the scripted model answers, as TOML or JSON.

    title = "Two fixes"
    token_delay_ms = 2                 # pause before each token of about four characters

    [[scene]]
    role = "engineer"                  # optional: from the system message's first line, `role: engineer`
    agent = "engineer-1"               # optional: from its line `agent: engineer-1`
    when_regex = 'Task (?P<task>t\d+): fix slugify'
                                       # or when = "a substring"; with neither, any user message fits

    [[scene.reply]]
    text = "I read the module first."
    calls = [{ tool = "read_file", arguments = { path = "slug.py" } }]

    [[scene.reply]]
    text = "Done with {task}."         # a named group of when_regex, {@agent} or {@role}; other braces are kept
    calls = [{ tool = "submit_task", arguments = { summary = "Fixes {task}" } }]
    delay_ms = 500

    [[fault]]                          # optional, see `faults.py`
    kind = "500"
    share = 0.2                        # of all distinct requests

Choice of the scene: the latest user message that fits any scene of this role and agent decides. Messages that fit
none, such as reminders, are skipped. If several scenes fit one message, the first in the file is chosen.

Choice of the reply: the first reply answers that user message, and each assistant message after it advances by one.
So an answer depends on the request alone, and a request repeated after a crash gets the same answer. After the last
reply the answer is "Done." without calls, which ends the turn. If no scene fits, the answer is a text that says so.

A reply's `capture` is a regex that is searched in the tool results since that user message, latest first. Its named
groups become placeholders of the reply, as in `capture = '(?P<id>t\d+) assigned'`.

A scene without `when` also matches reminders, which restarts it at its first reply. Give every scene a `when`.

Limits: compaction removes assistant messages, so the count would be wrong afterwards. A scene must end before its
agent compacts the conversation (give scripted agents a large `context_window`). An assistant message that the agent
keeps although its reply was broken counts too.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from actors.rehearsal.faults import Fault, FaultKind
from actors.text import did_you_mean
from store.errors import NightcrewError


class ScriptError(NightcrewError):
    """A script cannot be used. The message lists each mistake with its place and what is allowed."""


Milliseconds = Annotated[float, Field(ge=0, le=3_600_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScriptedCall(_Part):
    """A tool call of a reply. Placeholders in all strings of `arguments` are replaced."""

    tool: str = Field(min_length=1)
    arguments: dict[str, Any] = {}


class ScriptedReply(_Part):
    """One answer. `fault` hits the first `fault_times` attempts of its request."""

    text: str = ""
    calls: tuple[ScriptedCall, ...] = ()
    capture: str | None = None
    delay_ms: Milliseconds = 0
    token_delay_ms: Milliseconds | None = None
    fault: FaultKind | None = None
    fault_times: Annotated[int, Field(ge=1)] = 1

    @field_validator("capture")
    @classmethod
    def _capture_compiles(cls, pattern: str | None) -> str | None:
        return _compiling(pattern)


class Scene(_Part):
    """The replies to one user message, in order."""

    role: str | None = None
    agent: str | None = None
    when: str | None = None
    when_regex: str | None = None
    reply: tuple[ScriptedReply, ...] = Field(min_length=1)

    @field_validator("when_regex")
    @classmethod
    def _regex_compiles(cls, pattern: str | None) -> str | None:
        return _compiling(pattern)

    @model_validator(mode="after")
    def _one_condition(self) -> Scene:
        if self.when is not None and self.when_regex is not None:
            raise ValueError("has both `when` and `when_regex`; keep one")
        return self


class Script(_Part):
    """A whole script. `models` are those that the server reports."""

    title: str = "rehearsal"
    models: tuple[str, ...] = Field(("qwen3-coder:30b",), min_length=1)
    context_length: Annotated[int, Field(ge=1)] = 262_144
    token_delay_ms: Milliseconds = 0
    seed: int = 0
    scene: tuple[Scene, ...] = ()
    fault: tuple[Fault, ...] = ()

    @model_validator(mode="after")
    def _shares_fit(self) -> Script:
        if (total := sum(fault.share for fault in self.fault)) > 1:
            raise ValueError(f"the faults' shares add up to {total:g}; the maximum is 1")
        return self


def load_script(path: Path) -> Script:
    """Read a `.toml` or `.json` script. Raises `ScriptError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptError(f"script {path} cannot be read: {error}") from error
    try:
        data = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ScriptError(f"script {path} is not valid {kind}: {error}") from error
    return parse_script(data, source=str(path))


def parse_script(data: object, *, source: str = "script") -> Script:
    """Parse a script given as plain data. Raises `ScriptError` with one line per mistake."""
    if not isinstance(data, Mapping):
        raise ScriptError(f"{source}: a script is a table with [[scene]] entries, not {type(data).__name__}")
    try:
        return Script.model_validate(data)
    except ValidationError as error:
        mistakes = [_mistake(item["loc"], item["msg"], item["type"]) for item in error.errors()]
        raise ScriptError(f"{source}: " + "\n".join(mistakes)) from error


def _mistake(location: tuple[int | str, ...], message: str, kind: str) -> str:
    """`("scene", 1, "reply", 0, "txt")` -> `scene 2, reply 1: unknown key 'txt'; did you mean 'text'?`"""
    steps: list[str] = []
    for step in location:
        if isinstance(step, int) and steps:
            steps[-1] += f" {step + 1}"
        else:
            steps.append(str(step))
    if kind == "extra_forbidden":
        key = steps.pop()
        known = _keys_at(location[:-1])
        hint = did_you_mean(key, known, most=1) or f"; known keys: {', '.join(known)}"
        message = f"unknown key {key!r}{hint}"
    place = ", ".join(steps)
    return f"{place}: {message}" if place else message


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    tables: dict[str, type[BaseModel]] = {
        "scene": Scene,
        "reply": ScriptedReply,
        "calls": ScriptedCall,
        "fault": Fault,
    }
    names = [step for step in location if isinstance(step, str)]
    return list((tables[names[-1]] if names else Script).model_fields)


def _compiling(pattern: str | None) -> str | None:
    if pattern is not None:
        try:
            re.compile(pattern, re.MULTILINE)
        except re.error as error:
            raise ValueError(f"is not a valid regular expression: {error}") from error
    return pattern
