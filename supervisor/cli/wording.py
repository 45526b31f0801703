"""Readable texts for the codes that the store keeps: exits of processes, incidents, states."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

_INCIDENTS = {
    "agent_hung": "killed: {reason}",
    "agent_quarantined": "quarantined after {reason}",
    "agent_restarted": "restarted after {reason}",
    "clock_was_set": "the system clock was changed by {by_s} s",
    "dead_letter": "message {message} failed too often: {error}",
    "disk_has_room": "enough free disk space again",
    "disk_short": "{path} has {free_mb} MB free, {least_mb} MB are required; the crew is paused",
    "duty_done_by_code": "the {role} model did not finish its duty; Nightcrew completed it automatically",
    "housekeeping_failed": "housekeeping failed: {reason}",
    "infrastructure_failed": "failed and is retried: {error}",
    "ladder_climbed": "t{task} was stuck ({reason}); next step: {rung}",
    "machine_slept": "the machine slept for {gap_s} s",
    "model_unavailable": "no model answers: {reason}",
    "project_finished": "finished by {by}",
    "prompt_cut": "{host} cut the prompt to less than {context_window} tokens",
    "supervisor_died": "supervisor {pid} died without stopping the crew",
    "task_parked": "t{task} was parked: {reason}",
    "verdict_missing": "no verdict on t{task}",
}
_EXIT = re.compile(r"\b(exit|signal):([\w-]+)")


def incident(kind: str, detail: Mapping[str, Any]) -> str:
    """What happened, as one clause. An unknown kind is shown with its details."""
    if template := _INCIDENTS.get(kind):
        with suppress(KeyError):
            return readable(template.format_map({**detail, **_spelled(detail)}))
    rest = ", ".join(f"{name} {value}" for name, value in detail.items() if value is not None)
    return readable(f"{kind.replace('_', ' ')}: {rest}" if rest else kind.replace("_", " "))


def _spelled(detail: Mapping[str, Any]) -> dict[str, str]:
    """The values that are codes, in words."""
    return {name: str(detail[name]).replace("_", " ") for name in ("role", "rung") if name in detail}


def readable(text: str) -> str:
    """The text with codes such as `exit:70` and `signal:9` in words."""
    return _EXIT.sub(_exit, text)


def _exit(found: re.Match[str]) -> str:
    kind, value = found.groups()
    if kind == "signal":
        with suppress(ValueError):
            return signal.Signals(int(value)).name
        return f"signal {value}"
    return {"0": "a normal exit", "not-started": "a failed start", "unknown": "an unknown exit"}.get(
        value, f"exit code {value}"
    )


def count(number: int, noun: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
