"""The tools that touch the world, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from actors.tools.base import WorldTool
from actors.tools.edits import EditFile
from actors.tools.files import ReadFile, WriteFile
from actors.tools.shell import Shell

_MAKERS: dict[str, Callable[[], WorldTool]] = {
    "shell": Shell,
    "read_file": ReadFile,
    "edit_file": EditFile,
    "write_file": WriteFile,
}

WORLD_TOOL_NAMES = tuple(_MAKERS)


def world_tools(names: Iterable[str]) -> tuple[WorldTool, ...]:
    """New instances for one agent, in the order of `names`. Raises ValueError for any other name."""
    wanted = tuple(names)
    unknown = [name for name in wanted if name not in _MAKERS]
    if unknown:
        raise ValueError(f"no such world tool: {', '.join(unknown)}; there are {', '.join(_MAKERS)}")
    return tuple(_MAKERS[name]() for name in wanted)
