"""Finds work that is ready while nobody works on it, and starts it again.

Every message and assignment is committed with its cause, so none of this should happen. It limits the damage of
faults that nobody foresaw: a night's work must not stop because of one.

| in the store                                                          | what is done                             |
|-----------------------------------------------------------------------|------------------------------------------|
| a message is due and its recipient runs, but is idle                  | it is woken; the next time it is replaced |
| a message is claimed, its recipient is idle and has no deadline       | the same                                 |
| a message is due, its recipient is wanted but has no process          | the supervisor is notified               |
| a task is planned, and an agent for it is free or may be hired        | it is assigned                           |
| a task is assigned or in progress, and its assignee has no message    | the message is sent again                |
| a task waits for the gate, and the gate has no message                | the same                                 |
| all tasks have ended, and the manager has no message                  | the manager is asked to finish           |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from actors import log
from actors.runtime import mailbox
from actors.runtime.addresses import SUPERVISOR, TIMER
from actors.runtime.messages import CheckIn, TaskAssigned, TaskReturned, TaskSubmitted
from actors.work import assignment, team
from store import crew, inbox, incidents, tasks, timers
from store.engine import Fence, Store, Transaction
from store.rows import Agent, Project, Task
from store.states import Activity, AgentState, IncidentKind, TaskState

CONTINUE_TASK = "Nobody was working on this task. Continue with it, and submit it when it is done."
FINISH_PROJECT = "Every task of the project has ended. Check the results and call finish_project."

Kind = Literal[
    "message_not_taken",
    "no_process",
    "not_assigned",
    "assignee_has_no_message",
    "gate_has_no_message",
    "not_finished",
]


@dataclass(frozen=True, slots=True)
class Stall:
    """One finding. It is acted on if the next check finds an equal one: no transaction takes that long."""

    kind: Kind
    agent: str | None
    project: str | None
    task: int | None = None
    message: int | None = None


@dataclass(slots=True)
class StallCheck:
    """Run by the timer every `stall_s` seconds. Acts on what the previous check found too."""

    store: Store
    fence: Fence
    stall_s: float
    next_at: float = 0.0
    _seen: frozenset[Stall] = field(default=frozenset())
    _woken: frozenset[Stall] = field(default=frozenset())

    def run_if_due(self, now: float) -> float:
        """Check if it is time; returns when the next check is due, in UTC seconds."""
        # If the clock was set back by more than the interval, check now and not hours later.
        if self.next_at - self.stall_s <= now < self.next_at:
            return self.next_at
        self.next_at = now + self.stall_s
        found = frozenset(find_stalls(self.store, now, self.stall_s))
        for stall in found & self._seen:
            with self.store.write(self.fence) as tx:
                if resolve(tx, stall, now=now, woken=stall in self._woken):
                    log.warning("stall_resolved", kind=stall.kind, agent=stall.agent, task=stall.task)
                    _record(tx, stall, now=now)
        self._woken = found & self._seen
        self._seen = found
        return self.next_at


def find_stalls(store: Store, now: float, stall_s: float) -> list[Stall]:
    """Everything that has been ready for `stall_s` seconds. Only reads, always by an index."""
    found: list[Stall] = []
    live = {project.name: project for project in crew.active_projects(store)}
    idle: set[str] = set()
    for row in crew.all_agents(store):
        if row.paused or not row.wanted or row.state is AgentState.QUARANTINED:
            continue
        if row.project is not None and row.project not in live:
            continue
        stall = _message_stall(store, row, now, stall_s)
        if stall is not None:
            found.append(stall)
        elif _is_idle(row) and not _has_message(store, row.name):
            idle.add(row.name)
    waiting = {timer.recipient for timer in timers.listed(store) if timer.every_s is None}
    for project in live.values():
        found += _project_stalls(store, project, idle, waiting, now - stall_s)
    return found


def _is_idle(row: Agent) -> bool:
    return row.activity is Activity.IDLE and row.deadline_at is None and row.state is AgentState.RUNNING


def _has_message(store: Store, name: str) -> bool:
    # Far in the future: a failed message that waits for its retry counts too.
    return bool(inbox.claimed(store, name)) or inbox.peek(store, name, now=1e12) is not None


def _message_stall(store: Store, row: Agent, now: float, stall_s: float) -> Stall | None:
    """A message that an agent should have taken, or has taken without working on it."""
    name, project = row.name, row.project
    if row.state is AgentState.STOPPED:
        message = inbox.peek(store, name, now=now - stall_s)
        return None if message is None else Stall("no_process", name, project, message=message.id)
    if not _is_idle(row):
        return None
    since = max(row.ready_at or 0.0, row.activity_since or 0.0)
    claimed = inbox.claimed(store, name)
    message = claimed[0] if claimed else inbox.peek(store, name, now=now - stall_s)
    if message is None or since > now - stall_s:
        return None
    return Stall("message_not_taken", name, project, message=message.id)


def _project_stalls(
    store: Store, project: Project, idle: set[str], waiting: set[str], before: float
) -> list[Stall]:
    """Of tasks not changed since `before`. `idle`: agents without a message; `waiting`: with a check-in to come."""
    name = project.name
    rows = tasks.of_project(store, name)
    found = []
    for task in rows:
        if task.updated_at > before:
            continue
        assignee = task.assignee
        match task.state:
            case TaskState.PLANNED:
                found.append(Stall("not_assigned", None, name, task.id))
            case TaskState.ASSIGNED | TaskState.IN_PROGRESS if assignee in idle - waiting:
                found.append(Stall("assignee_has_no_message", assignee, name, task.id))
            case TaskState.SUBMITTED | TaskState.CHECKING if (
                task.candidate_commit is None and team.gate(name) in idle
            ):
                found.append(Stall("gate_has_no_message", team.gate(name), name, task.id))
            case _:
                pass
    is_over = rows and all(row.state in tasks.ENDED and row.updated_at < before for row in rows)
    if is_over and team.manager(name) in idle:
        found.append(Stall("not_finished", team.manager(name), name))
    return found


def resolve(tx: Transaction, stall: Stall, *, now: float, woken: bool) -> bool:
    """Act on a stall as in the table above; False if nothing could be done (no agent is free for a planned task).

    `woken`: waking the agent has not helped.
    """
    match stall.kind:
        case "message_not_taken" if stall.agent is not None:
            if woken:
                # The supervisor replaces an agent whose deadline has passed.
                crew.change_agent(tx, stall.agent, deadline_at=now - 1)
            tx.notify(stall.agent)
        case "no_process":
            team.notify_supervisor(tx, stall.project, now=now)
        case "not_assigned" if stall.project is not None and stall.task is not None:
            assignment.assign_waiting(tx, crew.project(tx, stall.project), now=now)
            return tasks.current(tx, stall.task).state is not TaskState.PLANNED
        case "assignee_has_no_message" | "gate_has_no_message" if stall.task is not None:
            return _send_again(tx, tasks.current(tx, stall.task), now=now)
        case "not_finished" if stall.agent is not None:
            mailbox.post(tx, TIMER, stall.agent, CheckIn(timer=0, note=FINISH_PROJECT), now=now)
        case _:
            raise ValueError(f"incomplete stall: {stall}")
    return True


def _send_again(tx: Transaction, task: Task, *, now: float) -> bool:
    """Send the message that belongs to the task's state; False if the state has changed."""
    assignee, project = task.assignee, task.project
    if assignee is None:
        return False
    match task.state:
        case TaskState.ASSIGNED:
            mailbox.post(tx, team.manager(project), assignee, TaskAssigned(task=task.id), now=now)
        case TaskState.IN_PROGRESS:
            feedback = "\n\n".join(filter(None, (CONTINUE_TASK, task.feedback)))
            mailbox.post(tx, SUPERVISOR, assignee, TaskReturned(task=task.id, feedback=feedback), now=now)
        case TaskState.SUBMITTED | TaskState.CHECKING:
            submitted = TaskSubmitted(task=task.id, commit=task.submitted_commit or "")
            mailbox.post(tx, assignee, team.gate(project), submitted, now=now)
        case _:
            return False
    return True


def _record(tx: Transaction, stall: Stall, *, now: float) -> None:
    incidents.record(
        tx,
        IncidentKind.WORK_STALLED,
        now=now,
        agent=stall.agent,
        project=stall.project,
        what=stall.kind,
        task=stall.task,
        message=stall.message,
    )
