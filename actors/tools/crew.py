"""The tools that act on the crew and touch nothing else: messages, tasks, timers, insights.

Their effects commit in the transaction of their result, so they need no journal: either both
happened or neither. What they do before (a commit, a look) may be repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors import git
from actors.errors import ActorError
from actors.git import Worktree
from actors.git.errors import WorkspaceError
from actors.model.protocol import Parameter, ToolSpec
from actors.roles import role_named
from actors.runtime import mailbox
from actors.runtime.actor import Effects, Runtime, nothing
from actors.runtime.addresses import HUMAN, Priority
from actors.runtime.messages import InsightShared, TaskSubmitted, Text, VerdictReported
from actors.text import nearest
from actors.work import assignment
from store import crew, insights, tasks, timers
from store.engine import Transaction
from store.errors import NotFound
from store.rows import Message, Project, Task, Usage
from store.states import ProjectState, TaskState

REVIVALS = 2  # how often a manager may have a parked task tried anew


@dataclass(frozen=True, slots=True)
class CrewContext:
    """Who calls, for which project and task, in which worktree (None for who has none), in which turn."""

    runtime: Runtime
    project: str | None
    task: int | None
    worktree: Worktree | None
    call_id: str
    turn: Message

    @property
    def name(self) -> str:
        return self.runtime.name

    def now(self) -> float:
        return self.runtime.clock()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the model is told, what commits with it, and whether the turn is over."""

    text: str
    ok: bool = True
    effects: Effects = nothing
    ends_turn: bool = False


class _Refusal(ActorError):
    """The call makes no sense now; its text is for the model."""


Run = Callable[[CrewContext, dict[str, Any]], Outcome]


@dataclass(frozen=True, slots=True)
class CrewTool:
    spec: ToolSpec
    run_checked: Run

    def run(self, context: CrewContext, arguments: dict[str, Any]) -> Outcome:
        """Do it, or say to the model why not."""
        try:
            return self.run_checked(context, arguments)
        except (NotFound, ActorError, WorkspaceError) as error:
            return Outcome(str(error), ok=False)


def _submit_task(context: CrewContext, arguments: dict[str, Any]) -> Outcome:
    if context.task is None or context.worktree is None:
        raise _Refusal("You have no task to submit. Wait for one.")
    task_id = context.task
    task = tasks.get(context.runtime.store, task_id)
    if task.state != TaskState.IN_PROGRESS:
        raise _Refusal(f"Task {task_id} is {task.state}; it cannot be submitted now. Stop and wait.")
    open_conflicts = git.unresolved(context.worktree)
    if open_conflicts:
        raise _Refusal(
            f"Conflict markers (<<<<<<<, =======, >>>>>>>) are left in {', '.join(open_conflicts)}. "
            "Edit these files so that both changes work together, then submit again."
        )
    summary = str(arguments["summary"]).strip()
    git.commit_all(context.worktree, f"{task.title}\n\n{summary}", locks=context.runtime.home.locks)
    commit = git.head_of(context.worktree.repository, task.branch)
    if commit == task.base_commit:
        raise _Refusal("Nothing was changed yet, so there is nothing to submit. Do the task first.")
    if task.attempts and commit == task.submitted_commit:
        raise _Refusal(
            "Nothing was changed since your last submission, which was not accepted. Mend it first."
        )

    def effects(tx: Transaction) -> None:
        now = context.now()
        tasks.move(
            tx,
            task_id,
            TaskState.SUBMITTED,
            by=context.name,
            reason=summary[:500],
            now=now,
            submitted_commit=commit,
            summary=summary,
        )
        mailbox.post(
            tx,
            context.name,
            assignment.gate(task.project),
            TaskSubmitted(task=task_id, commit=commit),
            now=now,
            key=f"submit:{task_id}:{context.call_id}",
        )

    text = f"Task {task_id} was submitted at {commit[:10]}. The checks run now; you will be told. Stop here."
    text = "\n".join([text, *git.left_out(context.worktree)])
    return Outcome(text, effects=effects, ends_turn=True)


def _send_message(context: CrewContext, arguments: dict[str, Any]) -> Outcome:
    text, to = str(arguments["text"]).strip(), str(arguments["to"]).strip()
    if not text:
        raise _Refusal("The text is empty; nothing was sent.")
    recipient = _resolve(context, to)
    mailbox.check_route(context.runtime.store, context.name, recipient)

    def effects(tx: Transaction) -> None:
        mailbox.post(
            tx,
            context.name,
            recipient,
            Text(text=text),
            now=context.now(),
            key=f"say:{context.name}:{context.call_id}",
        )

    return Outcome(f"Sent to {recipient}. An answer, if any, comes as a message.", effects=effects)


def _resolve(context: CrewContext, to: str) -> str:
    """The address that a model means: exact, short within its own project, or a role's usual word."""
    names = [row.name for row in crew.all_agents(context.runtime.store) if row.role]
    usual = {
        "human": HUMAN,
        "user": HUMAN,
        "manager": assignment.manager(context.project or ""),
        "pm": assignment.manager(context.project or ""),
        "project_manager": assignment.manager(context.project or ""),
    }
    plain = to.lower()
    for candidate in (to, usual.get(plain, ""), f"{to}.{context.project}", plain):
        if candidate in names or candidate == HUMAN:
            return candidate
    raise _Refusal(f"There is no {to!r}{nearest(to, names)}. You can write to: {', '.join([*names, HUMAN])}.")


def _schedule_check_in(context: CrewContext, arguments: dict[str, Any]) -> Outcome:
    minutes, note = float(arguments["minutes"]), str(arguments["note"]).strip()
    if not 1 <= minutes <= 24 * 60:
        raise _Refusal(f"minutes must be from 1 to {24 * 60}, not {minutes:g}.")

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

    return Outcome(f"You will be woken in {minutes:g} minutes with this note.", effects=effects)


def _assign_task(context: CrewContext, arguments: dict[str, Any]) -> Outcome:
    project = _project(context)
    title, description = str(arguments["title"]).strip(), str(arguments["description"]).strip()
    if not title or not description:
        raise _Refusal("A task needs a title and a description that holds all the engineer must know.")
    role = role_named(str(arguments.get("role") or "engineer"))
    if role.value in ("orchestrator", "project_manager", "qa", "reviewer"):
        raise _Refusal(f"Tasks go to engineers (or devops, researcher, writer), not to {role}.")

    def effects(tx: Transaction) -> None:
        assignment.plan(
            tx, project, title=title, description=description, role=role, by=context.name, now=context.now()
        )

    text = f"Task {title!r} is planned and goes to the next free {role}. You will be told when it has ended."
    return Outcome(text, effects=effects)


def _review_task(context: CrewContext, arguments: dict[str, Any]) -> Outcome:
    project = _project(context)
    task = tasks.get(context.runtime.store, int(arguments["task"]))
    if task.project != project.name:
        raise _Refusal(f"Task {task.id} is not of your project.")
    verdict, feedback = str(arguments["verdict"]).strip().lower(), str(arguments.get("feedback") or "")
    approve = verdict.startswith(("app", "acc", "pass", "ok", "yes"))
    if not approve and not verdict.startswith(("rej", "rew", "fail", "no", "change")):
        raise _Refusal(f"The verdict must be approve or reject, not {verdict!r}.")
    if approve:
        return Outcome(f"Noted. Task {task.id} is {task.state}; merging is decided by the checks.")
    if task.state not in (TaskState.PARKED, TaskState.SUBMITTED):
        raise _Refusal(f"Task {task.id} is {task.state}; only a submitted or parked task can be rejected.")

    if task.usage.revived >= REVIVALS:
        raise _Refusal(f"Task {task.id} was tried anew {REVIVALS} times already; leave it to the human.")

    def effects(tx: Transaction) -> None:
        now = context.now()
        current = tasks.current(tx, task.id)
        if current.state == TaskState.PARKED:
            revived = Usage(revived=current.usage.revived + 1)
            tasks.amend(tx, task.id, now=now, feedback=feedback, attempts=0, usage=revived)
            assignment.replan(tx, current, reason="the manager wants another try", by=context.name, now=now)
        elif current.state == TaskState.SUBMITTED:
            limit = context.runtime.config.budgets.attempts_per_task
            assignment.returned(tx, current, feedback=feedback, limit=limit, by=context.name, now=now)

    return Outcome(f"Task {task.id} goes back with your feedback.", effects=effects)


def _report_verdict(context: CrewContext, arguments: dict[str, Any]) -> Outcome:
    turn = context.turn
    if turn.kind != "review_requested":
        raise _Refusal("Nobody asked you for a verdict now. Wait for a review request.")
    if int(arguments["task"]) != turn.body["task"]:
        raise _Refusal(f"You were asked about task {turn.body['task']}; report your verdict on that one.")
    task = tasks.get(context.runtime.store, turn.body["task"])
    if task.state != TaskState.CHECKING or task.candidate_commit != turn.body["candidate"]:
        raise _Refusal(f"Task {task.id} does not wait for a verdict any more. Stop here.")
    passed, findings = bool(arguments["passed"]), str(arguments["findings"]).strip()
    if not passed and not findings:
        raise _Refusal("A verdict of not passed needs findings: what fails, how to see it.")

    def effects(tx: Transaction) -> None:
        post_verdict(tx, context.name, task, turn.id, passed=passed, findings=findings, now=context.now())

    return Outcome("Your verdict was passed on. Stop here.", effects=effects, ends_turn=True)


def post_verdict(
    tx: Transaction,
    sender: str,
    task: Task,
    request: int,
    *,
    passed: bool,
    findings: str,
    now: float,
) -> None:
    """Tell the gate what QA says of the task's present candidate; the first word on each `request` counts."""
    candidate = task.candidate_commit
    mailbox.post(
        tx,
        sender,
        assignment.gate(task.project),
        VerdictReported(task=task.id, candidate=candidate, passed=passed, findings=findings),
        now=now,
        key=f"verdict:{request}",
    )


def _finish_project(context: CrewContext, arguments: dict[str, Any]) -> Outcome:
    project = _project(context)
    rows = tasks.of_project(context.runtime.store, project.name)
    waiting = [f"task {row.id} ({row.title}) is {row.state}" for row in rows if row.state in assignment.OPEN]
    missing = [project.spec.deliverables[n - 1] for n in assignment.uncovered(project, rows)]
    if waiting:
        raise _Refusal("Not finished: " + "; ".join(waiting) + ". Stop and wait for their messages.")
    if missing:
        raise _Refusal("Not finished: no task covers: " + "; ".join(missing) + ". Call assign_task for each.")
    summary = str(arguments["summary"]).strip()

    def effects(tx: Transaction) -> None:
        assignment.finish_project(tx, project, summary=summary, by=context.name, now=context.now())

    return Outcome("The project is finished. Good work.", effects=effects, ends_turn=True)


def _share_insight(context: CrewContext, arguments: dict[str, Any]) -> Outcome:
    text = str(arguments["text"]).strip()
    if len(text) < 10:
        raise _Refusal("An insight needs a whole sentence that helps somebody else.")

    def effects(tx: Transaction) -> None:
        now = context.now()
        number = insights.add(tx, project=context.project, author=context.name, words=text, now=now)
        for row in crew.all_agents(tx):
            if row.role == "project_manager" and row.wanted and row.project != context.project:
                mailbox.post(
                    tx,
                    context.name,
                    row.name,
                    InsightShared(text=text, author=context.name),
                    now=now,
                    priority=Priority.LOW,
                    key=f"insight:{number}:{row.name}",
                )

    return Outcome("Shared with the other projects.", effects=effects)


def _search_insights(context: CrewContext, arguments: dict[str, Any]) -> Outcome:
    found = insights.search(context.runtime.store, str(arguments["query"]))
    lines = [f"- ({row.author}) {row.text}" for row in found]
    return Outcome("\n".join(lines) or "Nothing is known about that.")


def _crew_status(context: CrewContext, _arguments: dict[str, Any]) -> Outcome:
    return Outcome(status_text(context.runtime))


def status_text(runtime: Runtime, project: str | None = None) -> str:
    """Who does what and how far the tasks are: what a check-in and `crew_status` show."""
    lines: list[str] = []
    for row in crew.all_projects(runtime.store):
        if row.state not in (ProjectState.ACTIVE, ProjectState.PAUSED) or project not in (
            None,
            row.name,
        ):
            continue
        lines.append(f"project {row.name} ({row.state}): {row.goal.splitlines()[0][:120]}")
        for task in tasks.of_project(runtime.store, row.name):
            who = f", {task.assignee}" if task.assignee else ""
            lines.append(f"  task {task.id} {task.state}{who}: {task.title}")
        for agent in crew.all_agents(runtime.store, project=row.name):
            if agent.role:
                lines.append(f"  {agent.name}: {agent.state}, {agent.activity}")
    return "\n".join(lines) or "No project is running."


def _project(context: CrewContext) -> Project:
    if context.project is None:
        raise _Refusal("You have no project.")
    return crew.project(context.runtime.store, context.project)


def _tool(name: str, description: str, run: Run, *parameters: Parameter) -> CrewTool:
    return CrewTool(ToolSpec(name, description, parameters), run)


CREW_TOOLS: dict[str, CrewTool] = {
    tool.spec.name: tool
    for tool in (
        _tool(
            "submit_task",
            "Hand in your finished task. The crew runs the checks and merges it.",
            _submit_task,
            Parameter("summary", "string", "What you changed and which command showed that it works"),
        ),
        _tool(
            "report_verdict",
            "Report your verdict on the task you were asked to test.",
            _report_verdict,
            Parameter("task", "integer", "The number of the task"),
            Parameter("passed", "boolean", "true if the work does what the task asks"),
            Parameter("findings", "string", "What you tried and saw; for a failure how to see it"),
        ),
        _tool(
            "assign_task",
            "Plan one task for one deliverable; the crew gives it to a free engineer.",
            _assign_task,
            Parameter("title", "string", "Up to eight words that name the result"),
            Parameter("description", "string", "Everything the engineer needs to know"),
            Parameter("role", "string", "engineer, or devops, researcher, writer", required=False),
        ),
        _tool(
            "review_task",
            "Approve or reject a submitted or parked task.",
            _review_task,
            Parameter("task", "integer", "The number of the task"),
            Parameter("verdict", "string", "approve or reject"),
            Parameter("feedback", "string", "For a reject: what exactly to change", required=False),
        ),
        _tool("crew_status", "See every project, task and agent.", _crew_status),
        _tool(
            "send_message",
            "Send a message to one other agent, or to human.",
            _send_message,
            Parameter("to", "string", "The name of the agent, or manager, or human"),
            Parameter("text", "string", "What you have to say"),
        ),
        _tool(
            "schedule_check_in",
            "Be woken later with a note to yourself.",
            _schedule_check_in,
            Parameter("minutes", "number", "In how many minutes"),
            Parameter("note", "string", "What you want to look at then"),
        ),
        _tool(
            "share_insight",
            "Tell all other projects something useful that you learned.",
            _share_insight,
            Parameter("text", "string", "One or two sentences"),
        ),
        _tool(
            "search_insights",
            "Look up what the crew has learned before.",
            _search_insights,
            Parameter("query", "string", "A few words"),
        ),
        _tool(
            "finish_project",
            "End the project when every task is merged or parked.",
            _finish_project,
            Parameter("summary", "string", "What was merged, what was parked and why, what to look at"),
        ),
    )
}
