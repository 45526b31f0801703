"""`run --wait`: shows the tasks until the project has ended, then the outcome."""

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
NO_SUPERVISOR_LIMIT_S = 3.0  # a supervisor that is being replaced is missing for a moment
UNFINISHED_LIMIT_S = 900.0  # how long to wait for the manager after the last task has ended
EXIT_NOT_ALL_MERGED = 3
EXIT_INTERRUPTED = 130


class View(Protocol):
    """Shows progress: a live table on a terminal, else lines."""

    def show(self, project: Project, rows: list[Task]) -> None: ...


def wait(options: Options, store: Store, name: str) -> None:
    """Show the tasks until the project has ended, then print the outcome.

    Always raises `Exit`: with 0 if every deliverable was merged, else with 3.
    """
    with _view(options) as view:
        _watch(options, store, name, view)
    outcome = outcome_of(store, name)
    _print_outcome(options, outcome)
    raise click.exceptions.Exit(0 if outcome["complete"] else EXIT_NOT_ALL_MERGED)


@contextmanager
def stop_watching_on_interrupt(name: str) -> Iterator[None]:
    """Turn Ctrl-C into an exit with 130, and say that the crew goes on."""
    try:
        yield
    except KeyboardInterrupt:
        output.note(
            f"\nstopped watching; the crew goes on. See `nightcrew tasks {name}`; `nightcrew down` stops the crew"
        )
        raise click.exceptions.Exit(EXIT_INTERRUPTED) from None


def outcome_of(store: Store, name: str) -> dict[str, Any]:
    """What `run --wait --json` prints. `complete` is true if every deliverable has a merged task."""
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
    """Return when the project has ended. Raises `NotRunning` if the supervisor has ended."""
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
        if ended and now - changed_at > UNFINISHED_LIMIT_S:
            output.note("all tasks have ended, but the manager has not closed the project")
            return
        if status.holder(options.home) is not None:
            seen_alive_at = now
        elif now - seen_alive_at > NO_SUPERVISOR_LIMIT_S:
            raise NotRunning(
                f"the supervisor has ended before {name}; no work is lost. `nightcrew up` resumes it, "
                f"`nightcrew tasks {name}` shows its tasks"
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
    click.echo(f"details: `nightcrew report {outcome['project']}`")


class _Lines:
    """Prints one line per change: for pipes and logs, and with --json on stderr."""

    def __init__(self, *, err: bool) -> None:
        self._err = err
        self._seen: dict[int, str] = {}
        self._state: str | None = None

    def show(self, project: Project, rows: list[Task]) -> None:
        if project.state != self._state:
            if self._state is not None:
                self._print(f"{project.name} is {project.state}")
            self._state = project.state
        for row in rows:
            if self._seen.get(row.id) != row.state:
                self._seen[row.id] = row.state
                who = f" ({row.assignee})" if row.assignee else ""
                self._print(f"t{row.id} {row.state.replace('_', ' ')}{who}: {output.plain(row.title)}")

    def _print(self, text: str) -> None:
        click.echo(f"{output.local(time.time())} {text}", err=self._err)


@contextmanager
def _view(options: Options) -> Iterator[View]:
    if options.as_json or not output.is_terminal():
        yield _Lines(err=options.as_json)
        return
    from supervisor.cli.live import LiveTasks

    with LiveTasks() as view:
        yield view
