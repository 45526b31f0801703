"""The interface of the tools that act on the crew: tasks, messages, check-ins, insights.

Their effects commit in the transaction of their result: both happen or neither. So they need no journal. What
they do before that transaction (a commit in the worktree, reading the store) can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.errors import ActorError
from actors.git.errors import WorkspaceError
from actors.git.worktree import Worktree
from actors.model.protocol import Parameter, ToolSpec
from actors.runtime.context import Effects, Runtime, nothing
from store import crew
from store.engine import Store
from store.errors import NotFound
from store.rows import Message, Project


@dataclass(frozen=True, slots=True)
class CrewContext:
    """The caller of one tool: its project, task and worktree (None if it has none), and its current turn."""

    runtime: Runtime
    project: str | None
    task: int | None
    worktree: Worktree | None
    call_id: str
    turn: Message

    @property
    def name(self) -> str:
        """The calling agent."""
        return self.runtime.name

    @property
    def store(self) -> Store:
        """The store, for reading."""
        return self.runtime.store

    def now(self) -> float:
        """The time in UTC seconds."""
        return self.runtime.clock()

    def own_project(self) -> Project:
        """The caller's project. Raises CallRefused if it has none."""
        if self.project is None:
            raise CallRefused("You have no project.")
        return crew.project(self.store, self.project)


@dataclass(frozen=True, slots=True)
class CrewToolResult:
    """What the model reads, the effects that commit with it, and whether the turn ends."""

    text: str
    ok: bool = True
    effects: Effects = nothing
    ends_turn: bool = False


class CallRefused(ActorError):
    """The call is not possible now. The text is for the model."""


RunCall = Callable[[CrewContext, dict[str, Any]], CrewToolResult]


@dataclass(frozen=True, slots=True)
class CrewTool:
    """A tool that acts on the crew."""

    spec: ToolSpec
    run_call: RunCall

    def run(self, context: CrewContext, arguments: dict[str, Any]) -> CrewToolResult:
        """Run the call; a refused one gives a result with `ok=False`."""
        try:
            return self.run_call(context, arguments)
        except (NotFound, ActorError, WorkspaceError) as error:
            return CrewToolResult(str(error), ok=False)


def crew_tool(name: str, description: str, run_call: RunCall, *parameters: Parameter) -> CrewTool:
    """A tool as the model sees it, and the function that runs it."""
    return CrewTool(ToolSpec(name, description, parameters), run_call)
