"""Work that is ready while somebody for it is idle: found from the rows, and set going again.

Every message and assignment is committed with what causes it, so none of this should ever happen. A night
is not to be lost to the case that nobody has thought of.

| what stands in the store                                         | what is done                     |
|------------------------------------------------------------------|----------------------------------|
| a message is due, its recipient runs and is idle                 | it is woken; next time, replaced |
| a message is claimed, its recipient is idle, without a deadline  | the same                         |
| a message is due, its recipient is wanted and has no process     | the supervisor is told           |
| a task is planned, and somebody for it is free or may be hired   | it is assigned                   |
| a task is assigned or in progress, its assignee knows of nothing | it is told again                 |
| a task waits for the gate, and the gate knows of nothing         | the gate is told again           |
| all tasks have ended, and the manager knows of nothing           | the manager is told to finish    |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from actors import log
from actors.runtime import mailbox
from actors.runtime.addresses import SUPERVISOR, TIMER
from actors.runtime.messages import CheckIn, TaskAssigned, TaskReturned, TaskSubmitted
from actors.work import assignment
from store import crew, inbox, incidents, tasks, timers
from store.engine import Fence, Store, Transaction
from store.rows import Agent, Project, Task
from store.states import Activity, AgentState, IncidentKind, TaskState

GO_ON = "The crew noticed that nobody works on this task. Go on with it, and submit it when it is done."
FINISH = "Every task of the project has ended. Look at what came of them and call finish_project."

Kind = Literal["deaf", "absent", "unassigned", "untold", "ungated", "unfinished"]


@dataclass(frozen=True, slots=True)
class Stall:
    """One finding. Equal findings at two looks in a row are real: no step takes that long to commit."""

    kind: Kind
    agent: str | None
    project: str | None
    task: int | None = None
    message: int | None = None


@dataclass(slots=True)
class Rounds:
    """The timer's: looks every `stall_s`, acts on what it saw the last time too."""

    store: Store
    fence: Fence
    stall_s: float
    next_at: float = 0.0
    _seen: frozenset[Stall] = field(default=frozenset())
    _woken: frozenset[Stall] = field(default=frozenset())

    def look(self, now: float) -> float:
        """Look if it is time; returns when the next look is, in UTC seconds."""
        # A clock that was set back must not switch this off for hours.
        if self.next_at - self.stall_s <= now < self.next_at:
            return self.next_at
        self.next_at = now + self.stall_s
        found = frozenset(find(self.store, now, self.stall_s))
        for stall in found & self._seen:
            with self.store.write(self.fence) as tx:
                if settle(tx, stall, now=now, woken=stall in self._woken):
                    log.warning("stall_settled", kind=stall.kind, agent=stall.agent, task=stall.task)
                    note(tx, stall, now=now)
        self._woken = found & self._seen
        self._seen = found
        return self.next_at


def find(store: Store, now: float, stall_s: float) -> list[Stall]:
    """Everything that has been ready for `stall_s`. Reads only, all of it by index."""
    found: list[Stall] = []
    rows = crew.all_agents(store)
    live = {project.name: project for project in crew.active_projects(store)}
    idle: set[str] = set()
    for row in rows:
        if row.paused or not row.wanted or row.state == AgentState.QUARANTINED:
            continue
        if row.project is not None and row.project not in live:
            continue
        stall = _unmoved(store, row, now, stall_s)
        if stall is not None:
            found.append(stall)
        elif _is_idle(row) and not _knows_of_something(store, row.name):
            idle.add(row.name)
    waiting = {timer.recipient for timer in timers.listed(store) if timer.every_s is None}
    for project in live.values():
        found += _of_project(store, project, idle, waiting, now - stall_s)
    return found


def _is_idle(row: Agent) -> bool:
    is_at_rest = row.activity == Activity.IDLE and row.deadline_at is None
    return bool(is_at_rest and row.state == AgentState.RUNNING)


def _knows_of_something(store: Store, name: str) -> bool:
    # Far in the future: a message that is due later (a failed one after its pause) is one too.
    return bool(inbox.claimed(store, name)) or inbox.peek(store, name, now=1e12) is not None


def _unmoved(store: Store, row: Agent, now: float, stall_s: float) -> Stall | None:
    """A message that lies before an agent who could take it, or has taken it and does nothing."""
    name, project = row.name, row.project
    if row.state == AgentState.STOPPED:
        message = inbox.peek(store, name, now=now - stall_s)
        return None if message is None else Stall("absent", name, project, message=message.id)
    if not _is_idle(row):
        return None
    since = max(row.ready_at or 0.0, row.activity_since or 0.0)
    claimed = inbox.claimed(store, name)
    message = claimed[0] if claimed else inbox.peek(store, name, now=now - stall_s)
    if message is None or since > now - stall_s:
        return None
    return Stall("deaf", name, project, message=message.id)


def _of_project(
    store: Store, project: Project, idle: set[str], waiting: set[str], before: float
) -> list[Stall]:
    name = project.name
    rows = tasks.of_project(store, name)
    found = []
    for task in rows:
        if task.updated_at > before:
            continue
        assignee = task.assignee
        match task.state:
            case TaskState.PLANNED:
                found.append(Stall("unassigned", None, name, task.id))
            case TaskState.ASSIGNED | TaskState.IN_PROGRESS if assignee in idle - waiting:
                found.append(Stall("untold", assignee, name, task.id))
            case TaskState.SUBMITTED | TaskState.CHECKING if (
                task.candidate_commit is None and assignment.gate(name) in idle
            ):
                found.append(Stall("ungated", assignment.gate(name), name, task.id))
            case _:
                pass
    is_over = rows and all(row.state in tasks.ENDED and row.updated_at < before for row in rows)
    if is_over and assignment.manager(name) in idle:
        found.append(Stall("unfinished", assignment.manager(name), name))
    return found


def settle(tx: Transaction, stall: Stall, *, now: float, woken: bool) -> bool:
    """Set it going; False if there was nothing to do (nobody is free for a planned task)."""
    match stall.kind:
        case "deaf" if stall.agent is not None:
            if woken:
                # Past its deadline: the supervisor replaces it at its next look.
                crew.change_agent(tx, stall.agent, deadline_at=now - 1)
            tx.notify(stall.agent)
        case "absent":
            assignment.notify_supervisor(tx, stall.project, now=now)
        case "unassigned" if stall.project is not None and stall.task is not None:
            assignment.assign_waiting(tx, crew.project(tx, stall.project), now=now)
            return bool(tasks.current(tx, stall.task).state != TaskState.PLANNED)
        case "untold" | "ungated" if stall.task is not None:
            return _tell_again(tx, tasks.current(tx, stall.task), now=now)
        case "unfinished" if stall.agent is not None:
            mailbox.post(tx, TIMER, stall.agent, CheckIn(timer=0, note=FINISH), now=now)
        case _:
            raise ValueError(f"a stall without its subject: {stall}")
    return True


def _tell_again(tx: Transaction, task: Task, *, now: float) -> bool:
    assignee, project = task.assignee, task.project
    if assignee is None:
        return False
    match task.state:
        case TaskState.ASSIGNED:
            mailbox.post(tx, assignment.manager(project), assignee, TaskAssigned(task=task.id), now=now)
        case TaskState.IN_PROGRESS:
            words = "\n\n".join(filter(None, (GO_ON, task.feedback)))
            mailbox.post(tx, SUPERVISOR, assignee, TaskReturned(task=task.id, feedback=words), now=now)
        case TaskState.SUBMITTED | TaskState.CHECKING:
            news = TaskSubmitted(task=task.id, commit=task.submitted_commit or "")
            mailbox.post(tx, assignee, assignment.gate(project), news, now=now)
        case _:
            return False
    return True


def note(tx: Transaction, stall: Stall, *, now: float) -> None:
    """The incident, in the transaction that settles it."""
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
