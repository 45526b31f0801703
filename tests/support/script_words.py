"""Replies of the scripted model as plain data: scenes for `actors.rehearsal`."""

from __future__ import annotations

from typing import Any

Scene = dict[str, Any]
Reply = dict[str, Any]


def call(tool: str, **arguments: Any) -> dict[str, Any]:
    """One tool call."""
    return {"tool": tool, "arguments": arguments}


def reply(text: str, *calls: dict[str, Any], **timing: Any) -> Reply:
    """One answer; `timing` is `delay_ms` or `token_delay_ms`."""
    return {"text": text, "calls": list(calls), **timing}


def scene(role: str, when: str, *replies: Reply, **more: Any) -> Scene:
    """The replies of `role` to a message that contains `when`."""
    return {"role": role, "when": when, "reply": list(replies), **more}


def manager() -> list[Scene]:
    """A manager that plans one task per numbered deliverable line (up to four) and finishes the project.

    Titles are the deliverables' texts. Scenes with more deliverables come first, because the first match is used.
    """
    scenes: list[Scene] = []
    for count in (4, 3, 2, 1):
        lines = r"\n".join(rf"{number}\. (?P<d{number}>.+)" for number in range(1, count + 1))
        calls = [
            call("assign_task", title=f"{{d{n}}}", description=f"Do this: {{d{n}}}.", role="engineer")
            for n in range(1, count + 1)
        ]
        planned = {"when_regex": rf"You manage the project[\s\S]*DELIVERABLES:\n{lines}"}
        replies = [
            reply("One task for each deliverable.", *calls),
            reply("Planned; I wait for what comes back."),
        ]
        scenes.append({"role": "project_manager", **planned, "reply": replies})
    closing = reply("All is in.", call("finish_project", summary="Every deliverable has ended."))
    scenes.append(scene("project_manager", "No task is open any more", closing))
    return scenes
