"""The roles of agents: one file `<role>.md` per role, here or, the user's own, in `<home>/roles/`.

A role file has TOML between two lines of `+++`, then the prompt:

    +++
    summary = "Writes code for one task at a time"
    tools = ["shell", "read_file"]
    can_write = true
    +++
    You are ...

A user's file may omit any key, the whole front matter or the prompt; the packaged file supplies what is missing.
`common.md` is the end of every prompt. It defines what counts as data and cannot be overridden.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.errors import ActorError
from actors.text import did_you_mean
from store.states import Role

TOOL_NAMES = (
    "shell",
    "read_file",
    "edit_file",
    "write_file",
    "submit_task",
    "report_verdict",
    "assign_task",
    "review_task",
    "crew_status",
    "send_message",
    "schedule_check_in",
    "share_insight",
    "search_insights",
    "finish_project",
)
ALIASES = {"developer": Role.ENGINEER, "dev": Role.ENGINEER, "pm": Role.PROJECT_MANAGER, "tester": Role.QA}
MAX_FILE_BYTES = 20_000

_FENCE = "+++"
_KEYS: dict[str, type] = {"summary": str, "tools": list, "can_write": bool}


class RoleError(ActorError):
    """A role is unknown, or its file cannot be used. The text says which, why, and what is allowed."""


@dataclass(frozen=True, slots=True)
class RoleFile:
    """A loaded role. `can_write`: its worktree is writable. `origin`: the file that its prompt is from."""

    role: Role
    summary: str
    tools: tuple[str, ...]
    can_write: bool
    prompt: str
    origin: Path


def role_named(name: str) -> Role:
    """The role for a name that a person wrote: any case, spaces, hyphens or an alias. Raises RoleError."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    if plain in ALIASES:
        return ALIASES[plain]
    try:
        return Role(plain)
    except ValueError as error:
        names = [role.value for role in Role]
        raise RoleError(
            f"no role {name!r}{did_you_mean(plain, [*names, *ALIASES])}; there are {', '.join(names)}"
        ) from error


def load_role(name: str, override_dir: Path | None = None) -> RoleFile:
    """The role file of `name`; a `<role>.md` in `override_dir` has precedence. Raises RoleError."""
    role = role_named(name)
    path = Path(__file__).parent / f"{role.value}.md"
    values, prompt = _read(path)
    own = override_dir / path.name if override_dir else None
    if own is not None and own.exists():
        own_values, own_prompt = _read(own)
        values |= own_values
        if own_prompt:
            prompt, path = own_prompt, own
    return RoleFile(role, values["summary"], tuple(values["tools"]), values["can_write"], prompt, path)


def system_prompt(
    role_file: RoleFile, agent: str, project: str | None, facts: Sequence[tuple[str, str]] = ()
) -> str:
    """The system message of `agent`. Equal arguments give equal bytes, so the model's prefix cache applies.

    Line 1 is `role: <role>`, line 2 `agent: <name>`, then one line for the project and for each fact, such as
    `("manager", "manager.shop")`. Facts must not change during the agent's life.
    """
    head = [("role", role_file.role.value), ("agent", agent)]
    head += [("project", project)] if project else []
    lines = [f"{key}: {' '.join(value.split())}" for key, value in (*head, *facts)]
    _, common = _read(Path(__file__).parent / "common.md")
    return "\n".join([*lines, "", role_file.prompt, "", common, ""])


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """The checked front matter and the prompt of one file. Raises RoleError."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise RoleError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise RoleError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise RoleError(
            f"{path} has {len(data)} bytes; the limit is {MAX_FILE_BYTES}, because a long prompt leaves too "
            "little of the context window for the task"
        )
    lines = text.strip().split("\n")
    if lines[0].rstrip() != _FENCE:
        return {}, text.strip()
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), None)
    if end is None:
        raise RoleError(f"{path}: the front matter that starts with {_FENCE} is never closed")
    return _front_matter(path, "\n".join(lines[1:end])), "\n".join(lines[end + 1 :]).strip()


def _front_matter(path: Path, text: str) -> dict[str, Any]:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RoleError(f"{path}: the front matter is not valid TOML: {error}") from error
    for key, value in values.items():
        if key not in _KEYS:
            raise RoleError(f"{path}: no key {key!r}{did_you_mean(key, _KEYS)}; there are {', '.join(_KEYS)}")
        if not isinstance(value, _KEYS[key]):
            raise RoleError(f"{path}: {key} must be a {_KEYS[key].__name__}, not {value!r}")
    for tool in values.get("tools", []):
        if tool not in TOOL_NAMES:
            raise RoleError(
                f"{path}: no tool {tool!r}{did_you_mean(str(tool), TOOL_NAMES)}; there are {', '.join(TOOL_NAMES)}"
            )
    return values
