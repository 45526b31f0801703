"""All tools of agents, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from actors.tools import messages, tasks, verdicts
from actors.tools.base import WorktreeTool
from actors.tools.crew_tool import CrewTool
from actors.tools.edits import EditFile
from actors.tools.files import ReadFile, WriteFile
from actors.tools.shell import Shell

_WORKTREE_TOOLS: dict[str, Callable[[], WorktreeTool]] = {
    "shell": Shell,
    "read_file": ReadFile,
    "edit_file": EditFile,
    "write_file": WriteFile,
}

WORKTREE_TOOL_NAMES = tuple(_WORKTREE_TOOLS)
CREW_TOOLS: dict[str, CrewTool] = {
    tool.spec.name: tool for tool in (*tasks.TOOLS, *verdicts.TOOLS, *messages.TOOLS)
}


def worktree_tools(names: Iterable[str]) -> tuple[WorktreeTool, ...]:
    """New tools for one agent, in the order of `names`. Raises ValueError for an unknown name."""
    wanted = tuple(names)
    unknown = [name for name in wanted if name not in _WORKTREE_TOOLS]
    if unknown:
        raise ValueError(
            f"no such worktree tool: {', '.join(unknown)}; there are {', '.join(_WORKTREE_TOOLS)}"
        )
    return tuple(_WORKTREE_TOOLS[name]() for name in wanted)
