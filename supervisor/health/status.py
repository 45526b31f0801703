"""The crew as it is now, for `status` and its like: the store's rows beside what really lives.

Imports little: `nightcrew status` is to be done in a quarter of a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from actors.home import Home
from actors.runtime.addresses import SUPERVISOR
from store import crew, facts, inbox, tasks
from store.engine import Store
from store.rows import Agent, Project, Task
from store.shared import file_lock
from store.states import AgentState, TaskState

UNREAD_PATIENCE_S = 10.0  # it looks every second
_ALIVE_STATES = frozenset(
    {AgentState.STARTING, AgentState.RUNNING, AgentState.BACKOFF, AgentState.QUARANTINED}
)


@dataclass(frozen=True, slots=True)
class Holder:
    """The supervisor that holds a home. `pid` is 0 in the instant before it has written its own down."""

    pid: int
    since: float
    generation: int
    ready: bool


@dataclass(frozen=True, slots=True)
class Stuck:
    """A supervisor that lives and does nothing: how that is seen, and what mends it."""

    reason: str
    fix: str


def holder(home: Home) -> Holder | None:
    """The running supervisor of a home, None if there is none: its lock tells, its file only who."""
    if not file_lock.is_held(home.supervisor_lock):
        return None
    return last_said(home) or Holder(0, time.time(), 0, False)


def last_said(home: Home) -> Holder | None:
    """What the lock's file says, whether or not its writer still lives."""
    with contextlib.suppress(ValueError, OSError, KeyError, TypeError):
        content: dict[str, Any] = json.loads(home.supervisor_lock.read_text())
        return Holder(content["pid"], content["since"], content["generation"], content["ready"])
    return None


def process_state(pid: int) -> str | None:
    """What a process does, in the letter of `ps`: `T` is stopped, `Z` dead and not yet buried. None: it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        if sys.platform == "linux":
            return None
    told = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return told.stdout.strip()[:1] or None


def stuck(found: Holder, store: Store) -> Stuck | None:
    """Why a supervisor that holds its home does not work; None if it does. Nobody else would notice."""
    if found.pid and process_state(found.pid) == "T":
        return Stuck(
            "it is stopped (SIGSTOP, or Ctrl-Z): agents work on, but nothing that dies is restarted",
            f"kill -CONT {found.pid}",
        )
    if not found.ready:
        return None  # it reads its mailbox once it has started
    now = time.time()
    # What it would take first. A more pressing one that came later hides it, but only until it is as old.
    unread = inbox.peek(store, SUPERVISOR, now=now)
    if unread is not None and (unread_s := now - max(unread.created_at, found.since)) > UNREAD_PATIENCE_S:
        return Stuck(
            f"it has not read its mailbox for {unread_s:.0f} s: nothing that dies is restarted",
            f"kill -9 {found.pid}; nightcrew up (nothing is lost by it)",
        )
    return None


def of_crew(store: Store, found: Holder | None, hosts: list[dict[str, Any]]) -> dict[str, Any]:
    """What `status --json` prints. `found` is the home's supervisor; `hosts` are from `hosts.py`."""
    return {
        "supervisor": None if found is None else _with_condition(store, found),
        "model": {"hosts": hosts},
        "sandbox": facts.get(store, "sandbox") if found is not None else None,
        "disk_short": facts.get(store, "disk_short") if found is not None else None,
        "projects": [of_project(store, row) for row in crew.all_projects(store)],
        "agents": [of_agent(row, found) for row in crew.all_agents(store)],
    }


def of_nothing(hosts: list[dict[str, Any]]) -> dict[str, Any]:
    """The same before there is a store."""
    return {
        "supervisor": None,
        "model": {"hosts": hosts},
        "sandbox": None,
        "disk_short": None,
        "projects": [],
        "agents": [],
    }


def of_supervisor(found: Holder) -> dict[str, Any]:
    return {
        "pid": found.pid,
        "since": iso(found.since),
        "generation": found.generation,
        "ready": found.ready,
    }


def _with_condition(store: Store, found: Holder) -> dict[str, Any]:
    """Also whether it works, and whether the machine is kept awake, as it last wrote that down itself."""
    why = stuck(found, store)
    unknown = {"sleep_inhibited": False, "sleep_reason": "not looked at yet"}
    sleep = facts.get(store, "sleep") or unknown
    return of_supervisor(found) | {"stuck": None if why is None else asdict(why)} | sleep


def of_project(store: Store, row: Project) -> dict[str, Any]:
    """One project with the count of its tasks by state."""
    counts = {state.value: 0 for state in TaskState}
    for task in tasks.of_project(store, row.name):
        counts[task.state] += 1
    return {
        "name": row.name,
        "title": row.title,
        "state": row.state,
        "repository": row.repository,
        "branch": row.branch,
        "base_branch": row.base_branch,
        "base_commit": row.base_commit,
        "checks": row.checks,
        "checks_source": row.checks_source,
        "engineers": row.engineers,
        "qa": row.with_qa,
        "deliverables": len(row.spec.deliverables),
        "tasks": counts,
        "summary": row.summary,
        "created_at": iso(row.created_at),
        "finished_at": iso(row.finished_at),
    }


def of_agent(row: Agent, found: Holder | None) -> dict[str, Any]:
    """One agent. Without a supervisor nothing of it runs, whatever was last written down."""
    state, pid = row.state, row.pid
    if found is None and state in _ALIVE_STATES:
        state, pid = AgentState.STOPPED, None
    if pid is not None and not _is_alive(pid):
        pid = None
    return {
        "name": row.name,
        "kind": row.kind,
        "role": row.role,
        "project": row.project,
        "state": state,
        "reason": row.reason,
        "wanted": row.wanted,
        "paused": row.paused,
        "activity": row.activity,
        "activity_since": iso(row.activity_since),
        "pid": pid,
        "incarnation": row.generation,
        "restarts": row.restarts,
        "task": row.task,
        "last_progress_at": iso(row.last_progress_at),
    }


def of_task(row: Task) -> dict[str, Any]:
    """One task, as `tasks --json` lists it."""
    return {
        "id": row.id,
        "project": row.project,
        "title": row.title,
        "state": row.state,
        "role": row.role,
        "deliverable": row.deliverable,
        "assignee": row.assignee,
        "branch": row.branch,
        "base_commit": row.base_commit,
        "submitted_commit": row.submitted_commit,
        "merged_commit": row.merged_commit,
        "tag": row.tag,
        "verified": row.verified,
        "attempts": row.attempts,
        "summary": row.summary,
        "feedback": row.feedback,
        "created_at": iso(row.created_at),
        "started_at": iso(row.started_at),
        "finished_at": iso(row.finished_at),
    }


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def iso(at: float | None) -> str | None:
    """UTC seconds as ISO 8601, None for never."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
