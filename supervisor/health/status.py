"""The current state of the crew as `--json` prints it: the store's rows, checked against running processes.

Imports little, because `nightcrew status` must finish within 250 ms.
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
from store import crew, facts, inbox, incidents, tasks
from store.engine import Store
from store.rows import Agent, Project, Task
from store.shared import file_lock
from store.states import AgentState, ProjectState, TaskState

HEARTBEAT_LIMIT_S = 10.0  # the supervisor reads its mailbox every second
_ALIVE_STATES = frozenset(
    {AgentState.STARTING, AgentState.RUNNING, AgentState.BACKOFF, AgentState.QUARANTINED}
)


@dataclass(frozen=True, slots=True)
class Holder:
    """The supervisor that holds the lock of a home. `pid` is 0 for a moment, until it has written its own."""

    pid: int
    since: float
    generation: int
    ready: bool


@dataclass(frozen=True, slots=True)
class NotResponding:
    """Why a running supervisor counts as not responding, and the command that fixes it."""

    reason: str
    fix: str


def holder(home: Home) -> Holder | None:
    """The running supervisor of a home, or None. The lock decides; the lock's file only names the process."""
    if not file_lock.is_held(home.supervisor_lock):
        return None
    return last_holder(home) or Holder(0, time.time(), 0, False)


def last_holder(home: Home) -> Holder | None:
    """The supervisor that the lock's file names, running or not; None if it names none."""
    with contextlib.suppress(ValueError, OSError, KeyError, TypeError):
        content: dict[str, Any] = json.loads(home.supervisor_lock.read_text())
        return Holder(content["pid"], content["since"], content["generation"], content["ready"])
    return None


def process_state(pid: int) -> str | None:
    """The state letter of a process as in `ps`: `T` stopped, `Z` a zombie. None if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        if sys.platform == "linux":
            return None
    done = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip()[:1] or None


def not_responding(found: Holder, store: Store) -> NotResponding | None:
    """Why the running supervisor does not respond; None if it does.

    The supervisor reads its mailbox every second. An old unread message means that it no longer responds.
    """
    if found.pid and process_state(found.pid) == "T":
        return NotResponding(
            "its process is stopped (SIGSTOP or Ctrl-Z); crashed agents are not restarted",
            f"kill -CONT {found.pid}",
        )
    if not found.ready:
        return None  # it does not read its mailbox while it is starting
    now = time.time()
    # The next unread message. A newer message with a higher priority may hide an older one. It is then reported
    # when the newer one is old enough itself.
    unread = inbox.peek(store, SUPERVISOR, now=now)
    if unread is not None and (unread_s := now - max(unread.created_at, found.since)) > HEARTBEAT_LIMIT_S:
        return NotResponding(
            f"last heartbeat {unread_s:.0f} s ago",
            f"kill -9 {found.pid}; nightcrew up (no work is lost)",
        )
    return None


def of_crew(store: Store, found: Holder | None, hosts: list[dict[str, Any]]) -> dict[str, Any]:
    """What `status --json` prints. `found` is the home's supervisor; `hosts` are from `hosts.py`."""
    return {
        "supervisor": None if found is None else _with_condition(store, found),
        "model": {"hosts": hosts},
        "sandbox": facts.get(store, facts.SANDBOX) if found is not None else None,
        "disk_short": facts.get(store, facts.DISK_SHORT) if found is not None else None,
        "projects": [of_project(store, row) for row in crew.all_projects(store)],
        "agents": [of_agent(row, found) for row in crew.all_agents(store)],
    }


def of_nothing(hosts: list[dict[str, Any]]) -> dict[str, Any]:
    """The same for a home without a store."""
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
    """The supervisor, whether it responds, and whether it keeps the machine awake."""
    why = not_responding(found, store)
    unknown = {"sleep_inhibited": False, "sleep_reason": "not known yet"}
    sleep = facts.get(store, facts.SLEEP) or unknown
    return of_supervisor(found) | {"stuck": None if why is None else asdict(why)} | sleep


def of_project(store: Store, row: Project) -> dict[str, Any]:
    """One project with the number of its tasks by state."""
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
    """One agent. Without a supervisor it counts as stopped, whatever its row says."""
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
    """One task as `tasks --json` prints it."""
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


def needing_attention(store: Store) -> int:
    """The number of incidents that need attention: those of live projects and of the last 24 hours."""
    live = {
        row.name
        for row in crew.all_projects(store)
        if row.state in (ProjectState.ACTIVE, ProjectState.PAUSED)
    }
    since = time.time() - 86_400
    return sum(
        row.needs_human and (row.project in live or row.created_at > since) for row in incidents.listed(store)
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def iso(at: float | None) -> str | None:
    """UTC seconds as ISO 8601; None for None."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
