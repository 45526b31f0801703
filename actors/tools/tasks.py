"""The tools for a project's tasks: assign_task, submit_task, review_task, finish_project."""

from __future__ import annotations

from typing import Any

from actors.git.commits import commit_all, uncommitted_files
from actors.git.pending_merge import unresolved_files
from actors.git.refs import head_of
from actors.git.worktree import Worktree
from actors.model.protocol import Parameter
from actors.roles import role_named
from actors.runtime import mailbox
from actors.runtime.messages import TaskSubmitted
from actors.tools.crew_tool import CallRefused, CrewContext, CrewToolResult, crew_tool
from actors.work import assignment, deliverables, lifecycle, outcomes, team
from store import tasks
from store.engine import Transaction
from store.rows import Task, Usage
from store.states import Role, TaskState

MAX_REVIVALS = 2  # how often a manager may have a parked task tried again
_MAKERS = frozenset({Role.ENGINEER, Role.DEVOPS, Role.RESEARCHER, Role.WRITER})


def _assign_task(context: CrewContext, arguments: dict[str, Any]) -> CrewToolResult:
    project = context.own_project()
    title, description = str(arguments["title"]).strip(), str(arguments["description"]).strip()
    if not title or not description:
        raise CallRefused(
            "A task needs a title, and a description that contains everything the engineer must know."
        )
    role = role_named(str(arguments.get("role") or "engineer"))
    if role not in _MAKERS:
        raise CallRefused(f"Tasks are for engineer, devops, researcher or writer, not for {role}.")

    def effects(tx: Transaction) -> None:
        assignment.plan(
            tx, project, title=title, description=description, role=role, by=context.name, now=context.now()
        )

    text = f"Task {title!r} is planned. The next free {role} gets it. You get a message when it is merged or parked."
    return CrewToolResult(text, effects=effects)


def _submit_task(context: CrewContext, arguments: dict[str, Any]) -> CrewToolResult:
    task, worktree = _submittable(context)
    summary = str(arguments["summary"]).strip()
    commit_all(worktree, f"{task.title}\n\n{summary}", locks=context.runtime.home.locks)
    commit = head_of(worktree.repository, task.branch)
    if commit == task.base_commit:
        raise CallRefused("Nothing was changed yet, so there is nothing to submit. Do the task first.")
    if task.attempts and commit == task.submitted_commit:
        raise CallRefused(
            "Nothing was changed since your last submission, which was not accepted. Fix it first."
        )

    def effects(tx: Transaction) -> None:
        now = context.now()
        tasks.move(
            tx,
            task.id,
            TaskState.SUBMITTED,
            by=context.name,
            reason=summary[:500],
            now=now,
            submitted_commit=commit,
            summary=summary,
        )
        gate, submitted = team.gate(task.project), TaskSubmitted(task=task.id, commit=commit)
        key = f"submit:{task.id}:{context.call_id}"
        mailbox.post(tx, context.name, gate, submitted, now=now, key=key)

    text = f"Task {task.id} was submitted at {commit[:10]}. The checks run now; you get a message. Stop here."
    return CrewToolResult("\n".join([text, *uncommitted_files(worktree)]), effects=effects, ends_turn=True)


def _submittable(context: CrewContext) -> tuple[Task, Worktree]:
    """The caller's task and worktree. Raises CallRefused if the task cannot be submitted now."""
    if context.task is None or context.worktree is None:
        raise CallRefused("You have no task to submit. Wait for one.")
    task = tasks.get(context.store, context.task)
    if task.state != TaskState.IN_PROGRESS:
        raise CallRefused(f"Task {task.id} is {task.state}; it cannot be submitted now. Stop and wait.")
    unresolved = unresolved_files(context.worktree)
    if unresolved:
        raise CallRefused(
            f"Conflict markers (<<<<<<<, =======, >>>>>>>) are left in {', '.join(unresolved)}. "
            "Edit these files so that both changes work together, then submit again."
        )
    return task, context.worktree


def _review_task(context: CrewContext, arguments: dict[str, Any]) -> CrewToolResult:
    project = context.own_project()
    task = tasks.get(context.store, int(arguments["task"]))
    if task.project != project.name:
        raise CallRefused(f"Task {task.id} is not in your project.")
    if _is_approval(str(arguments["verdict"])):
        return CrewToolResult(
            f"Noted. Task {task.id} is {task.state}; the checks decide whether it is merged."
        )
    if task.state not in (TaskState.PARKED, TaskState.SUBMITTED):
        raise CallRefused(f"Task {task.id} is {task.state}; only a submitted or parked task can be rejected.")
    if task.usage.revived >= MAX_REVIVALS:
        raise CallRefused(
            f"Task {task.id} was tried again {MAX_REVIVALS} times already. Leave it to the human."
        )
    feedback = str(arguments.get("feedback") or "")

    def effects(tx: Transaction) -> None:
        now = context.now()
        current = tasks.current(tx, task.id)
        if current.state == TaskState.PARKED:
            revived = Usage(revived=current.usage.revived + 1)
            tasks.amend(tx, task.id, now=now, feedback=feedback, attempts=0, usage=revived)
            assignment.replan(tx, current, reason="the manager wants another try", by=context.name, now=now)
        elif current.state == TaskState.SUBMITTED:
            limit = context.runtime.config.budgets.attempts_per_task
            outcomes.return_task(tx, current, feedback=feedback, limit=limit, by=context.name, now=now)

    return CrewToolResult(
        f"Task {task.id} was returned for another attempt with your feedback.", effects=effects
    )


def _is_approval(verdict: str) -> bool:
    """Whether a model's free-text verdict approves. Raises CallRefused if that is unclear."""
    plain = verdict.strip().lower()
    if plain.startswith(("app", "acc", "pass", "ok", "yes")):
        return True
    if plain.startswith(("rej", "rew", "fail", "no", "change")):
        return False
    raise CallRefused(f"The verdict must be approve or reject, not {plain!r}.")


def _finish_project(context: CrewContext, arguments: dict[str, Any]) -> CrewToolResult:
    project = context.own_project()
    rows = tasks.of_project(context.store, project.name)
    waiting = [f"task {row.id} ({row.title}) is {row.state}" for row in rows if row.state in assignment.OPEN]
    missing = [project.spec.deliverables[n - 1] for n in deliverables.uncovered(project, rows)]
    if waiting:
        raise CallRefused("Not finished: " + "; ".join(waiting) + ". Stop and wait for their messages.")
    if missing:
        raise CallRefused(
            "Not finished: no task covers: " + "; ".join(missing) + ". Call assign_task for each."
        )
    summary = str(arguments["summary"]).strip()

    def effects(tx: Transaction) -> None:
        lifecycle.finish(tx, project.name, summary=summary, by=context.name, now=context.now())

    return CrewToolResult("The project is finished. Good work.", effects=effects, ends_turn=True)


TOOLS = (
    crew_tool(
        "submit_task",
        "Submit your finished task. The crew runs the checks and merges it.",
        _submit_task,
        Parameter("summary", "string", "What you changed, and which command showed that it works"),
    ),
    crew_tool(
        "assign_task",
        "Plan one task for one deliverable. The crew gives it to a free engineer.",
        _assign_task,
        Parameter("title", "string", "Up to eight words that name the result"),
        Parameter("description", "string", "Everything the engineer needs to know"),
        Parameter("role", "string", "engineer (default), devops, researcher or writer", required=False),
    ),
    crew_tool(
        "review_task",
        "Approve or reject a submitted or parked task.",
        _review_task,
        Parameter("task", "integer", "The number of the task"),
        Parameter("verdict", "string", "approve or reject"),
        Parameter("feedback", "string", "If you reject it: what exactly to change", required=False),
    ),
    crew_tool(
        "finish_project",
        "Finish the project when every task is merged or parked.",
        _finish_project,
        Parameter("summary", "string", "What was merged, what was parked and why, what to check"),
    ),
)
