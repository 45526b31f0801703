"""`run --wait`: the tasks live until the project has ended, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import click

from store import crew, tasks
from store.rows import Project, Task
from store.states import TaskState
from supervisor.cli import output
from supervisor.cli.options import Options
from supervisor.errors import NotRunning
from supervisor.health import status

if TYPE_CHECKING:
    from store.engine import Store

POLL_S = 0.25
LOST_PATIENCE_S = 3.0  # a supervisor that is being replaced right now is no lost one
SILENCE_LIMIT_S = 900.0  # all tasks ended, and yet the manager does not say so
EXIT_NOT_ALL_MERGED = 3
EXIT_INTERRUPTED = 130


class View(Protocol):
    """Where progress is shown."""

    def show(self, project: Project, rows: list[Task]) -> None: ...


def wait(options: Options, store: Store, name: str) -> None:
    """Show the tasks until the end, then print the outcome and exit with its status."""
    with _view(options) as view:
        _watch(options, store, name, view)
    outcome = outcome_of(store, name)
    _print_outcome(options, outcome)
    raise click.exceptions.Exit(0 if outcome["complete"] else EXIT_NOT_ALL_MERGED)


@contextmanager
def leaving_it_at_work(name: str) -> Iterator[None]:
    """Ctrl-C ends the watching and not the work, and says so."""
    try:
        yield
    except KeyboardInterrupt:
        output.note(
            f"\nno longer watching; the crew works on. `nightcrew tasks {name}` shows how far it is, "
            "`nightcrew down` stops it"
        )
        raise click.exceptions.Exit(EXIT_INTERRUPTED) from None


def outcome_of(store: Store, name: str) -> dict[str, Any]:
    """What `run --wait --json` ends with; `complete` only if every deliverable has a merged task."""
    project = crew.project(store, name)
    rows = tasks.of_project(store, name)
    merged = [row for row in rows if row.state == TaskState.MERGED]
    parked = [row for row in rows if row.state == TaskState.PARKED]
    done = {row.deliverable for row in merged}
    wanted = project.spec.deliverables
    return {
        "project": name,
        "state": project.state,
        "merged": [_brief(row) for row in merged],
        "parked": [_brief(row) for row in parked],
        "open": [_brief(row) for row in rows if row.state not in tasks.ENDED],
        "missing": [text for number, text in enumerate(wanted, 1) if number not in done],
        "branch": project.branch,
        "complete": all(number in done for number in range(1, len(wanted) + 1)),
        "summary": project.summary,
    }


def _brief(row: Task) -> dict[str, Any]:
    return {
        "id": row.id,
        "title": row.title,
        "state": row.state,
        "deliverable": row.deliverable,
        "commit": row.merged_commit or row.submitted_commit,
        "branch": row.branch,
        "verified": row.verified,
        "attempts": row.attempts,
    }


def _watch(options: Options, store: Store, name: str, view: View) -> None:
    """Until the project has ended. Raises `NotRunning` if the supervisor is gone for good."""
    seen_alive_at = changed_at = time.monotonic()
    before: list[tuple[int, TaskState]] = []
    while True:
        project = crew.project(store, name)
        rows = tasks.of_project(store, name)
        view.show(project, rows)
        if not project.state.is_live:
            return
        now = time.monotonic()
        states = [(row.id, row.state) for row in rows]
        if states != before:
            before, changed_at = states, now
        ended = bool(rows) and all(row.state in tasks.ENDED for row in rows)
        if ended and now - changed_at > SILENCE_LIMIT_S:
            output.note("all tasks have ended, but the manager has not closed the project")
            return
        if status.holder(options.home) is not None:
            seen_alive_at = now
        elif now - seen_alive_at > LOST_PATIENCE_S:
            raise NotRunning(
                f"the supervisor has ended while {name} was being worked on; nothing is lost. `nightcrew up` "
                f"resumes it, `nightcrew tasks {name}` shows how far it is"
            )
        time.sleep(POLL_S)


def _print_outcome(options: Options, outcome: dict[str, Any]) -> None:
    if options.as_json:
        output.print_json(outcome)
        return
    merged, parked = outcome["merged"], outcome["parked"]
    click.echo(
        f"{outcome['project']} is {outcome['state']}: {len(merged)} merged, {len(parked)} parked, "
        f"{len(outcome['open'])} open; branch {outcome['branch']}"
    )
    for text in outcome["missing"]:
        click.echo(f"  not merged: {output.plain(text)}")
    for row in parked:
        click.echo(f"  parked: t{row['id']} {output.plain(row['title'])} (work on {row['branch']})")
    click.echo(f"`nightcrew report {outcome['project']}` has the whole story")


class _Lines:
    """One line for each change: for pipes, logs and --json (there on stderr)."""

    def __init__(self, *, err: bool) -> None:
        self._err = err
        self._seen: dict[int, str] = {}
        self._state: str | None = None

    def show(self, project: Project, rows: list[Task]) -> None:
        if project.state != self._state:
            if self._state is not None:
                self._say(f"{project.name} is {project.state}")
            self._state = project.state
        for row in rows:
            if self._seen.get(row.id) != row.state:
                self._seen[row.id] = row.state
                who = f" ({row.assignee})" if row.assignee else ""
                self._say(f"t{row.id} {row.state.replace('_', ' ')}{who}: {output.plain(row.title)}")

    def _say(self, text: str) -> None:
        click.echo(f"{output.local(time.time())} {text}", err=self._err)


@contextmanager
def _view(options: Options) -> Iterator[View]:
    if options.as_json or not output.is_terminal():
        yield _Lines(err=options.as_json)
        return
    from supervisor.cli.live import LiveTasks

    with LiveTasks() as view:
        yield view
