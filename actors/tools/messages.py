"""The tools for communication: send_message, schedule_check_in, share_insight, search_insights, crew_status."""

from __future__ import annotations

from typing import Any

from actors.model.protocol import Parameter
from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN, Priority
from actors.runtime.context import Runtime
from actors.runtime.messages import InsightShared, Text
from actors.text import did_you_mean
from actors.tools.crew_tool import CallRefused, CrewContext, CrewToolResult, crew_tool
from actors.work import team
from store import crew, insights, tasks, timers
from store.engine import Transaction
from store.states import Role

_MAX_CHECK_IN_MINUTES = 24 * 60
_MIN_INSIGHT_CHARS = 10


def _send_message(context: CrewContext, arguments: dict[str, Any]) -> CrewToolResult:
    text, to = str(arguments["text"]).strip(), str(arguments["to"]).strip()
    if not text:
        raise CallRefused("The text is empty; nothing was sent.")
    recipient = _find_recipient(context, to)
    mailbox.check_route(context.store, context.name, recipient)

    def effects(tx: Transaction) -> None:
        key = f"say:{context.name}:{context.call_id}"
        mailbox.post(tx, context.name, recipient, Text(text=text), now=context.now(), key=key)

    return CrewToolResult(f"Sent to {recipient}. An answer, if any, comes as a message.", effects=effects)


def _find_recipient(context: CrewContext, to: str) -> str:
    """The address that a model means: a full name, a short one in its project, or a word such as `manager`.

    Raises CallRefused if there is no such address.
    """
    names = [row.name for row in crew.all_agents(context.store) if row.role]
    manager = team.manager(context.project or "")
    words = {"human": HUMAN, "user": HUMAN, "manager": manager, "pm": manager, "project_manager": manager}
    plain = to.lower()
    for candidate in (to, words.get(plain, ""), f"{to}.{context.project}", plain):
        if candidate in names or candidate == HUMAN:
            return candidate
    raise CallRefused(
        f"There is no {to!r}{did_you_mean(to, names)}. You can write to: {', '.join([*names, HUMAN])}."
    )


def _schedule_check_in(context: CrewContext, arguments: dict[str, Any]) -> CrewToolResult:
    minutes, note = float(arguments["minutes"]), str(arguments["note"]).strip()
    if not 1 <= minutes <= _MAX_CHECK_IN_MINUTES:
        raise CallRefused(f"minutes must be from 1 to {_MAX_CHECK_IN_MINUTES}, not {minutes:g}.")

    def effects(tx: Transaction) -> None:
        now = context.now()
        timers.add(
            tx,
            recipient=context.name,
            note=note,
            due_at=now + minutes * 60,
            created_by=context.name,
            now=now,
            key=f"call:{context.name}:{context.call_id}",
        )

    return CrewToolResult(f"You get this note as a message in {minutes:g} minutes.", effects=effects)


def _share_insight(context: CrewContext, arguments: dict[str, Any]) -> CrewToolResult:
    text = str(arguments["text"]).strip()
    if len(text) < _MIN_INSIGHT_CHARS:
        raise CallRefused("An insight must be a whole sentence that helps other projects.")

    def effects(tx: Transaction) -> None:
        now = context.now()
        number = insights.add(tx, project=context.project, author=context.name, words=text, now=now)
        shared = InsightShared(text=text, author=context.name)
        for row in crew.all_agents(tx):
            if row.role == Role.PROJECT_MANAGER and row.wanted and row.project != context.project:
                key = f"insight:{number}:{row.name}"
                mailbox.post(tx, context.name, row.name, shared, now=now, priority=Priority.LOW, key=key)

    return CrewToolResult("Shared with the other projects.", effects=effects)


def _search_insights(context: CrewContext, arguments: dict[str, Any]) -> CrewToolResult:
    found = insights.search(context.store, str(arguments["query"]))
    lines = [f"- ({row.author}) {row.text}" for row in found]
    return CrewToolResult("\n".join(lines) or "The crew has no insight about that.")


def _crew_status(context: CrewContext, _arguments: dict[str, Any]) -> CrewToolResult:
    return CrewToolResult(status_text(context.runtime))


def status_text(runtime: Runtime, project: str | None = None) -> str:
    """The state of tasks and agents, for `crew_status` and check-ins; of all running projects by default."""
    lines: list[str] = []
    for row in crew.all_projects(runtime.store):
        if not row.state.is_live or project not in (None, row.name):
            continue
        lines.append(f"project {row.name} ({row.state}): {row.goal.splitlines()[0][:120]}")
        for task in tasks.of_project(runtime.store, row.name):
            assignee = f", {task.assignee}" if task.assignee else ""
            lines.append(f"  task {task.id} {task.state}{assignee}: {task.title}")
        for agent in crew.all_agents(runtime.store, project=row.name):
            if agent.role:
                lines.append(f"  {agent.name}: {agent.state}, {agent.activity}")
    return "\n".join(lines) or "No project is running."


TOOLS = (
    crew_tool("crew_status", "Show the state of every project, task and agent.", _crew_status),
    crew_tool(
        "send_message",
        "Send a message to another agent or to the human.",
        _send_message,
        Parameter("to", "string", "The name of an agent, or `manager`, or `human`"),
        Parameter("text", "string", "The message"),
    ),
    crew_tool(
        "schedule_check_in",
        "Get a message with your own note after some minutes.",
        _schedule_check_in,
        Parameter("minutes", "number", "After how many minutes, from 1 to 1440"),
        Parameter("note", "string", "What you want to check then"),
    ),
    crew_tool(
        "share_insight",
        "Share something useful that you learned with the managers of all other projects.",
        _share_insight,
        Parameter("text", "string", "One or two sentences"),
    ),
    crew_tool(
        "search_insights",
        "Search what the crew has learned before.",
        _search_insights,
        Parameter("query", "string", "A few words"),
    ),
)
