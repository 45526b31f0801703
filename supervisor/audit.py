"""What a night must not have done: lost something, done something twice, left something stuck.

Read from the store and the repositories alone, after the crew has come to rest; used by the rehearsal
and by crash drills. No finding is the proof.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors import workspace
from store import crew, history, inbox, journal, tasks
from store.engine import Store
from store.states import EntryKind, IntentState, MessageState, TaskState

MOST_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Audit:
    """Sentences, one a finding. `fsck` is git's own complaint about a repository, empty if it is sound."""

    lost: tuple[str, ...] = field(default=())
    doubled: tuple[str, ...] = field(default=())
    stuck: tuple[str, ...] = field(default=())
    fsck: tuple[str, ...] = field(default=())

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.stuck or self.fsck)

    @property
    def findings(self) -> tuple[str, ...]:
        return (*self.lost, *self.doubled, *self.stuck, *self.fsck)


def audit(store: Store, *, people: frozenset[str] = frozenset({"human"})) -> Audit:
    """Examine everything. `people`: recipients whose messages nobody claims, so that unread is not stuck."""
    projects = crew.all_projects(store)
    lost, doubled, fsck = [], [], []
    for project in projects:
        rows = tasks.of_project(store, project["name"])
        merges = _merges(project)
        lost += _lost(project, rows, merges)
        doubled += [
            f"{project['name']}: task {task} was merged {count} times"
            for task, count in merges.items()
            if count > 1
        ]
        fsck += _fsck(project)
    doubled += _doubled_results(store) + _doubled_messages(store)
    return Audit(tuple(lost), tuple(doubled), tuple(_stuck(store, people)), tuple(fsck))


def _merges(project: dict[str, Any]) -> Counter[int]:
    """How often each task's number stands on the integration branch's own line of merges."""
    git = workspace.inspect(Path(project["repository"])).git()
    span = f"{project['base_commit']}..{project['branch']}"
    text = git.run("log", "--first-parent", "--format=%B%x00", span)
    return Counter(int(number) for number in re.findall(r"^Nightcrew-Task: (\d+)$", text, re.MULTILINE))


def _lost(project: dict[str, Any], rows: list[dict[str, Any]], merges: Counter[int]) -> list[str]:
    """Merged tasks whose commit is not on the branch, and work on the branch that no row knows."""
    repository = workspace.inspect(Path(project["repository"]))
    head = workspace.head_of(repository, project["branch"])
    found = []
    for row in rows:
        if row["state"] != TaskState.MERGED:
            continue
        if not workspace.is_ancestor(repository, row["merged_commit"], head):
            found.append(f"{project['name']}: the merge of task {row['id']} is not on {project['branch']}")
        if not workspace.is_ancestor(repository, row["submitted_commit"], head):
            found.append(f"{project['name']}: the work of task {row['id']} is not on {project['branch']}")
    merged = {row["id"] for row in rows if row["state"] == TaskState.MERGED}
    found += [
        f"{project['name']}: task {task} is on the branch but not recorded as merged"
        for task in merges
        if task not in merged
    ]
    return found


def _fsck(project: dict[str, Any]) -> list[str]:
    git = workspace.inspect(Path(project["repository"])).git()
    outcome = git.attempt("fsck", "--no-dangling", "--no-progress", timeout_s=600)
    if outcome.exit_code == 0:
        return []
    return [f"{project['name']}: git fsck: {outcome.stderr.strip() or outcome.stdout.strip()}"]


def _doubled_results(store: Store) -> list[str]:
    """A call of a reply may have one result in the history, and one only."""
    seen: Counter[tuple[str, int, int]] = Counter()
    last = 0
    while entries := history.since(store, last, most=5_000):
        for entry in entries:
            if entry.kind is EntryKind.TOOL_RESULT:
                seen[entry.agent, entry.body["reply"], entry.body["position"]] += 1
        last = entries[-1].id
    return [
        f"{agent}: call {position} of reply {reply} has {count} results"
        for (agent, reply, position), count in seen.items()
        if count > 1
    ]


def _doubled_messages(store: Store) -> list[str]:
    """A message may stand in an agent's history once."""
    seen: Counter[tuple[str, int]] = Counter()
    last = 0
    while entries := history.since(store, last, most=5_000):
        for entry in entries:
            if entry.kind is EntryKind.MESSAGE and entry.message is not None:
                seen[entry.agent, entry.message] += 1
        last = entries[-1].id
    return [
        f"{agent}: message {n} was taken in {count} times" for (agent, n), count in seen.items() if count > 1
    ]


def _stuck(store: Store, people: frozenset[str]) -> list[str]:
    """Messages nobody finished, tools without an outcome, tasks that nobody works on."""
    found = []
    wanted = {row["name"] for row in crew.all_agents(store) if row["wanted"]}
    for state in (MessageState.READY, MessageState.CLAIMED):
        for row in inbox.listed(store, state=state, most=MOST_ROWS):
            if row["recipient"] not in people and row["recipient"] in wanted:
                found.append(f"message {row['id']} ({row['kind']}) to {row['recipient']} is {state}")
    found += [
        f"dead letter {row['id']} ({row['kind']}) to {row['recipient']}: {row['error']}"
        for row in inbox.listed(store, state=MessageState.DEAD, most=MOST_ROWS)
    ]
    found += [
        f"{row['agent']}: {row['tool']} of reply {row['reply']} has no outcome"
        for row in journal.listed(store, IntentState.INTENDED, most=MOST_ROWS)
    ]
    for row in tasks.listed(store):
        if row["state"] not in tasks.ENDED:
            found.append(f"task {row['id']} ({row['title']}) is still {row['state']}")
    return found
