"""Checks after a run that nothing was lost, done twice or left stuck.

Reads only the store and the repositories, after the crew has become idle. Used by the rehearsal, the drill and
tests.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from actors.git.refs import head_of, is_ancestor
from actors.git.repository import open_repository
from store import crew, history, inbox, journal, tasks, timers
from store.engine import Store
from store.entries import MessageBody, ToolResultBody
from store.rows import Project, Task, Timer
from store.states import ActorKind, IntentState, MessageState, TaskState

MOST_ROWS = 1_000_000
# Messages of these kinds are executed but never stored in a history.
COMMANDS = frozenset({"pause", "resume", "cancel_turn"})


@dataclass(frozen=True, slots=True)
class Audit:
    """The findings as sentences. `fsck` are those of `git fsck`."""

    lost: tuple[str, ...] = field(default=())
    doubled: tuple[str, ...] = field(default=())
    stuck: tuple[str, ...] = field(default=())
    fsck: tuple[str, ...] = field(default=())

    @property
    def findings(self) -> tuple[str, ...]:
        return (*self.lost, *self.doubled, *self.stuck, *self.fsck)


def audit(store: Store, *, people: frozenset[str] = frozenset({"human"})) -> Audit:
    """Check everything. Unread messages to `people` are not findings."""
    projects = crew.all_projects(store)
    lost, doubled, stuck, fsck = [], [], [], []
    for project in projects:
        rows = tasks.of_project(store, project.name)
        merges = _merges(project)
        lost += _lost(project, rows, merges)
        doubled += [
            f"{project.name}: task {task} was merged {count} times"
            for task, count in merges.items()
            if count > 1
        ]
        fsck += _fsck(project)
        stuck += _locked(project)
    for found_lost, found_doubled in (_histories(store), _timers(store)):
        lost += found_lost
        doubled += found_doubled
    doubled += _task_ends(store)
    stuck += _stuck(store, people)
    return Audit(tuple(lost), tuple(doubled), tuple(stuck), tuple(fsck))


def _merges(project: Project) -> Counter[int]:
    """How often each task was merged, by the trailers of the merges on the integration branch."""
    git = open_repository(Path(project.repository)).git()
    span = f"{project.base_commit}..{project.branch}"
    text = git.run("log", "--first-parent", "--format=%B%x00", span)
    return Counter(int(number) for number in re.findall(r"^Nightcrew-Task: (\d+)$", text, re.MULTILINE))


def _lost(project: Project, rows: list[Task], merges: Counter[int]) -> list[str]:
    """Merged tasks whose commits are not on the branch, and merges on the branch without a merged task."""
    repository = open_repository(Path(project.repository))
    head = head_of(repository, project.branch)
    found = []
    for row in rows:
        if row.state != TaskState.MERGED:
            continue
        if not is_ancestor(repository, row.merged_commit or "", head):
            found.append(f"{project.name}: the merge of task {row.id} is not on {project.branch}")
        if not is_ancestor(repository, row.submitted_commit or "", head):
            found.append(f"{project.name}: the work of task {row.id} is not on {project.branch}")
    merged = {row.id for row in rows if row.state == TaskState.MERGED}
    found += [
        f"{project.name}: task {task} is on the branch but not recorded as merged"
        for task in merges
        if task not in merged
    ]
    return found


def _fsck(project: Project) -> list[str]:
    git = open_repository(Path(project.repository)).git()
    outcome = git.attempt("fsck", "--no-dangling", "--no-progress", timeout_s=600)
    if outcome.exit_code == 0:
        return []
    return [f"{project.name}: git fsck: {outcome.stderr.strip() or outcome.stdout.strip()}"]


def _histories(store: Store) -> tuple[list[str], list[str]]:
    """Return findings of lost and of duplicated entries in the agents' histories.

    Each tool call has at most one result, and each message that an agent handled appears once.
    """
    results: Counter[tuple[str, int, int]] = Counter()
    taken: Counter[tuple[str, int]] = Counter()
    last = 0
    while entries := history.since(store, last, most=5_000):
        for entry in entries:
            if isinstance(entry.body, ToolResultBody):
                results[entry.agent, entry.body.reply, entry.body.position] += 1
            elif isinstance(entry.body, MessageBody) and entry.message is not None:
                taken[entry.agent, entry.message] += 1
        last = entries[-1].id
    doubled = [
        f"{agent}: call {position} of reply {reply} has {count} results"
        for (agent, reply, position), count in results.items()
        if count > 1
    ]
    doubled += [
        f"{agent}: message {n} is in the history {count} times"
        for (agent, n), count in taken.items()
        if count > 1
    ]
    agents = {row.name for row in crew.all_agents(store) if row.kind == ActorKind.AGENT}
    lost = [
        f"{row.recipient}: message {row.id} ({row.kind}) is marked as handled but is in no history"
        for row in inbox.listed(store, state=MessageState.HANDLED, most=MOST_ROWS)
        if row.recipient in agents and row.kind not in COMMANDS and (row.recipient, row.id) not in taken
    ]
    return lost, doubled


def _task_ends(store: Store) -> list[str]:
    """Tasks that were recorded as merged more than once."""
    found = []
    for row in tasks.listed(store):
        ends = Counter(event.target for event in tasks.events(store, row.id))
        if ends[TaskState.MERGED] > 1:
            found.append(f"task {row.id} was recorded as merged {ends[TaskState.MERGED]} times")
    return found


def _timers(store: Store) -> tuple[list[str], list[str]]:
    """Return findings of lost and of duplicated check-ins: each firing of a timer sends one to an existing agent."""
    sent: Counter[int] = Counter()
    for state in MessageState:
        for row in inbox.listed(store, state=state, most=MOST_ROWS):
            if row.kind == "check_in":
                sent[row.body["timer"]] += 1
    agents = {row.name for row in crew.all_agents(store)}
    rows = [row for row in timers.listed(store, everything=True) if row.recipient in agents]
    lost = [row for row in rows if sent[row.id] < row.fired_count]
    doubled = [row for row in rows if sent[row.id] > row.fired_count]
    words = "timer {} for {} fired {} times and sent {} check-ins"

    def sentence(row: Timer) -> str:
        return words.format(row.id, row.recipient, row.fired_count, sent[row.id])

    return [sentence(row) for row in lost], [sentence(row) for row in doubled]


def _locked(project: Project) -> list[str]:
    """Lock files that a killed git left behind, and that would block the user's git."""
    folder = open_repository(Path(project.repository)).git_dir
    left = [folder / f"{name}.lock" for name in ("index", "HEAD", "config", "packed-refs")]
    left += (folder / "refs").rglob("*.lock")
    return [f"{project.name}: {path} was left behind by a killed git" for path in left if path.exists()]


def _stuck(store: Store, people: frozenset[str]) -> list[str]:
    """Unhandled and dead messages, tool calls without an outcome, and tasks that have not ended."""
    found = []
    wanted = {row.name for row in crew.all_agents(store) if row.wanted}
    for state in (MessageState.READY, MessageState.CLAIMED):
        for row in inbox.listed(store, state=state, most=MOST_ROWS):
            if row.recipient not in people and row.recipient in wanted:
                found.append(f"message {row.id} ({row.kind}) to {row.recipient} is {state}")
    found += [
        f"dead letter {row.id} ({row.kind}) to {row.recipient}: {row.error}"
        for row in inbox.listed(store, state=MessageState.DEAD, most=MOST_ROWS)
    ]
    found += [
        f"{row.agent}: {row.tool} of reply {row.reply} has no outcome"
        for row in journal.listed(store, IntentState.INTENDED, most=MOST_ROWS)
    ]
    found += [
        f"task {task.id} ({task.title}) is still {task.state}"
        for task in tasks.listed(store)
        if task.state not in tasks.ENDED
    ]
    return found
