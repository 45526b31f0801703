"""The crew as it is now, for `status` and its like: the store's rows beside what really lives.

Imports little: `nightcrew status` is to be done in a quarter of a second.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from actors.home import Home
from store import crew, incidents, tasks
from store.engine import Store
from store.states import AgentState, TaskState

CONNECT_TIMEOUT_S = 0.3
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


def holder(home: Home) -> Holder | None:
    """The running supervisor of a home, None if there is none: its lock tells, its file only who."""
    if not _is_held(home):
        return None
    return last_said(home) or Holder(0, time.time(), 0, False)


def last_said(home: Home) -> Holder | None:
    """What the lock's file says, whether or not its writer still lives."""
    with contextlib.suppress(ValueError, OSError, KeyError, TypeError):
        content: dict[str, Any] = json.loads(home.supervisor_lock.read_text())
        return Holder(content["pid"], content["since"], content["generation"], content["ready"])
    return None


def _is_held(home: Home) -> bool:
    try:
        descriptor = os.open(home.supervisor_lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared: two that only look must not take each other for a supervisor.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def of_crew(store: Store, home: Home, hosts: list[str]) -> dict[str, Any]:
    """What `status --json` prints. `hosts` are the model hosts to look at, as URLs."""
    found = holder(home)
    return {
        "supervisor": _with_sleep(store, of_supervisor(found)),
        "model": {"hosts": of_hosts(hosts)},
        "sandbox": incidents.fact(store, "sandbox") if found is not None else None,
        "disk_short": incidents.fact(store, "disk_short") if found is not None else None,
        "projects": [of_project(store, row) for row in crew.all_projects(store)],
        "agents": [of_agent(row, found) for row in crew.all_agents(store)],
    }


def of_nothing(hosts: list[str]) -> dict[str, Any]:
    """The same before there is a store."""
    return {
        "supervisor": None,
        "model": {"hosts": of_hosts(hosts)},
        "sandbox": None,
        "disk_short": None,
        "projects": [],
        "agents": [],
    }


def _with_sleep(store: Store, supervisor: dict[str, Any] | None) -> dict[str, Any] | None:
    """Whether the machine is kept awake, as the supervisor last wrote it down."""
    if supervisor is None:
        return None
    unknown = {"sleep_inhibited": False, "sleep_reason": "not looked at yet"}
    return supervisor | (incidents.fact(store, "sleep") or unknown)


def of_supervisor(found: Holder | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "pid": found.pid,
        "since": iso(found.since),
        "generation": found.generation,
        "ready": found.ready,
    }


def of_project(store: Store, row: dict[str, Any]) -> dict[str, Any]:
    """One project with the count of its tasks by state."""
    counts = {state.value: 0 for state in TaskState}
    for task in tasks.of_project(store, row["name"]):
        counts[task["state"]] += 1
    return {
        "name": row["name"],
        "title": row["title"],
        "state": row["state"],
        "repository": row["repository"],
        "branch": row["branch"],
        "base_branch": row["base_branch"],
        "base_commit": row["base_commit"],
        "checks": row["checks"],
        "checks_source": row["checks_source"],
        "engineers": row["engineers"],
        "qa": row["with_qa"],
        "deliverables": len(row["spec"]["deliverables"]),
        "tasks": counts,
        "summary": row["summary"],
        "created_at": iso(row["created_at"]),
        "finished_at": iso(row["finished_at"]),
    }


def of_agent(row: dict[str, Any], found: Holder | None) -> dict[str, Any]:
    """One agent. Without a supervisor nothing of it runs, whatever was last written down."""
    state, pid = row["state"], row["pid"]
    if found is None and state in _ALIVE_STATES:
        state, pid = AgentState.STOPPED.value, None
    if pid is not None and not _is_alive(pid):
        pid = None
    return {
        "name": row["name"],
        "kind": row["kind"],
        "role": row["role"],
        "project": row["project"],
        "state": state,
        "reason": row["reason"],
        "wanted": row["wanted"],
        "paused": row["paused"],
        "activity": row["activity"],
        "activity_since": iso(row["activity_since"]),
        "pid": pid,
        "incarnation": row["generation"],
        "restarts": row["restarts"],
        "task": row["task"],
        "last_progress_at": iso(row["last_progress_at"]),
    }


def of_task(row: dict[str, Any]) -> dict[str, Any]:
    """One task, as `tasks --json` lists it."""
    return {
        "id": row["id"],
        "project": row["project"],
        "title": row["title"],
        "state": row["state"],
        "role": row["role"],
        "deliverable": row["deliverable"],
        "assignee": row["assignee"],
        "branch": row["branch"],
        "base_commit": row["base_commit"],
        "submitted_commit": row["submitted_commit"],
        "merged_commit": row["merged_commit"],
        "tag": row["tag"],
        "verified": row["verified"],
        "attempts": row["attempts"],
        "summary": row["summary"],
        "feedback": row["feedback"],
        "created_at": iso(row["created_at"]),
        "started_at": iso(row["started_at"]),
        "finished_at": iso(row["finished_at"]),
    }


def known_hosts(store: Store) -> list[str] | None:
    """The model hosts that the last supervisor was given, None if there never was one."""
    fact = incidents.fact(store, "model_hosts")
    return [str(host) for host in fact] if isinstance(fact, list) else None


def of_hosts(hosts: list[str]) -> list[dict[str, Any]]:
    """Whether each host takes connections now. All are tried at once, each for at most 0.3 s.

    A connection and no request: a busy server answers late, and httpx would cost more than all the rest.
    """
    states = ["down"] * len(hosts)

    def look(index: int) -> None:
        states[index] = "up" if _accepts(hosts[index]) else "down"

    threads = [threading.Thread(target=look, args=(index,), daemon=True) for index in range(len(hosts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * CONNECT_TIMEOUT_S)
    return [{"url": url, "state": state} for url, state in zip(hosts, states, strict=True)]


def _accepts(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", port), CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False


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
