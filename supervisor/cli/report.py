"""Results by project and task, with the results of the checks: as JSON and as text."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from store import crew, facts, incidents, tasks
from store.rows import Project, Task
from store.states import TaskState
from supervisor.cli import output, wording
from supervisor.health import status

if TYPE_CHECKING:
    from store.engine import Store

_QUIET = frozenset({"project_finished"})


def gather(store: Store, only: str | None = None) -> dict[str, Any]:
    """The report as `report --json` prints it; of one project if `only` names it."""
    projects = [row for row in crew.all_projects(store) if only in (None, row.name)]
    return {
        "made_at": status.iso(time.time()),
        "sandbox": _sandbox(store),
        "projects": [_project(store, row) for row in projects],
        "incidents": incidents.counts(store),
    }


def _sandbox(store: Store) -> dict[str, Any] | None:
    """The result of the latest self-test; None if there was none."""
    fact = facts.get(store, facts.SANDBOX)
    if not isinstance(fact, dict):
        return None
    return {key: fact.get(key) for key in ("mode", "holds", "at", "summary", "error")}


def _project(store: Store, row: Project) -> dict[str, Any]:
    rows = tasks.of_project(store, row.name)
    done = {task.deliverable for task in rows if task.state == TaskState.MERGED}
    team = crew.all_agents(store, project=row.name)
    found = [i for i in incidents.listed(store, project=row.name) if i.kind not in _QUIET]
    ended_at = row.finished_at or time.time()
    return {
        **status.of_project(store, row),
        "duration_s": round(ended_at - row.created_at, 1),
        "deliverables": [
            {"number": number, "text": text, "merged": number in done}
            for number, text in enumerate(row.spec.deliverables, 1)
        ],
        "tasks": [_task(store, task) for task in rows],
        "restarts": {agent.name: agent.restarts for agent in team if agent.restarts},
        "incidents": [
            {
                "kind": i.kind,
                "agent": i.agent,
                "detail": i.detail,
                "needs_human": i.needs_human,
                "at": status.iso(i.created_at),
            }
            for i in reversed(found)
        ],
    }


def _task(store: Store, row: Task) -> dict[str, Any]:
    runs = tasks.gate_runs_of(store, row.id)
    ended_at = row.finished_at or row.updated_at
    return {
        **status.of_task(row),
        "duration_s": round(ended_at - row.created_at, 1),
        "usage": row.usage,
        "gate_runs": [
            {
                "commit": run.commit,
                "verdict": run.verdict,
                "checks": _checks(run.report),
                "report": str(run.report.get("report", "")),
                "duration_s": round(run.ended_at - run.started_at, 1),
                "at": status.iso(run.ended_at),
            }
            for run in runs
        ],
    }


def _checks(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Command, outcome and reason of each check in the gate's report."""
    found = report.get("checks")
    results = found.get("results", []) if isinstance(found, dict) else []
    return [
        {"command": result.get("command"), "outcome": result.get("outcome"), "reason": result.get("reason")}
        for result in results
        if isinstance(result, dict)
    ]


def as_text(found: dict[str, Any]) -> list[str]:
    """The report for a terminal, line by line."""
    if not found["projects"]:
        return ["no projects yet; start one with `nightcrew run SPEC`"]
    lines = []
    for project in found["projects"]:
        lines += [*_project_lines(project), ""]
    sandbox = found["sandbox"]
    lines.append(f"sandbox: {sandbox['summary']}" if sandbox else "sandbox: not tested yet")
    return lines


def _project_lines(project: dict[str, Any]) -> list[str]:
    deliverables = project["deliverables"]
    merged = sum(1 for item in deliverables if item["merged"])
    took = output.for_how_long(project["duration_s"])
    checks = "; ".join(project["checks"]) or "none: merges are unverified"
    lines = [
        f"{project['name']}: {project['state']}, {merged} of {len(deliverables)} deliverables merged, {took}",
        f"  branch {project['branch']} of {project['repository']}",
        f"  checks ({project['checks_source']}): {checks}",
    ]
    lines += [f"  NOT MERGED: {item['text']}" for item in deliverables if not item["merged"]]
    for task in project["tasks"]:
        lines += _task_lines(task)
    if project["restarts"]:
        counts = ", ".join(f"{name} {count}" for name, count in project["restarts"].items())
        lines.append(f"  restarts: {counts}")
    for incident in project["incidents"]:
        mark = "!" if incident["needs_human"] else "-"
        at, who = output.local_iso(incident["at"]), f"{incident['agent']}: " if incident["agent"] else ""
        lines.append(f"  {mark} {at} {who}{wording.incident(incident['kind'], incident['detail'])}")
    if project["summary"]:
        lines.append(f"  summary: {' '.join(str(project['summary']).split())}")
    return lines


def _task_lines(task: dict[str, Any]) -> list[str]:
    took = output.for_how_long(task["duration_s"])
    tries = f", returned {output.times(task['attempts'])}" if task["attempts"] else ""
    lines = [f"  t{task['id']} {task['state']}: {task['title']} ({took}{tries})"]
    if task["merged_commit"]:
        proof = "" if task["verified"] else ", UNVERIFIED: no checks ran"
        lines.append(f"     merged as {task['merged_commit'][:10]}{proof}")
    elif task["state"] == TaskState.PARKED:
        lines.append(f"     its work is on {task['branch']}")
    for run in task["gate_runs"]:
        checks = "; ".join(
            f"{check['command']}: {check['outcome']} ({check['reason']})" for check in run["checks"]
        )
        lines.append(
            f"     gate at {run['commit'][:10]}: {run['verdict']}" + (f" - {checks}" if checks else "")
        )
    return lines
