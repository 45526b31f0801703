"""Real stores for tests: migrated once per test process, then copied, because alembic takes half a second."""

from __future__ import annotations

import functools
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from store import crew, inbox
from store.engine import Fence, Notify, Store, Transaction
from store.rows import Message, ProjectSpec
from store.states import Role
from store.upkeep import migrate

NOW = 1_700_000_000.0  # in the past, so that live actors find what was sent "now" due


@functools.cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crew.db"
        migrate.ensure(path)
        # Closing the last connection checkpointed and removed the WAL, so copying this one file is enough.
        return path.read_bytes()


def make_file(path: Path) -> Path:
    """Create the file of a migrated, empty store at `path`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(_template())
    return path


def open_store(path: Path, *, notify: Notify | None = None) -> Store:
    """Open the store at `path`, created if it does not exist. The caller closes it."""
    if not path.exists():
        make_file(path)
    return Store(path, notify=notify)


def add_agent(store: Store, name: str, *, role: Role | None = None, project: str | None = None) -> None:
    """Add the row of an agent that the supervisor should run."""
    with store.write() as tx:
        crew.add_agent(tx, name=name, kind="agent", role=role, project=project, now=NOW)


def new_incarnation(store: Store, name: str) -> Fence:
    """Do what an actor's start does in the store.

    Increments the generation and makes the claimed messages of the previous one ready again.
    """
    with store.write() as tx:
        generation = crew.next_generation(tx, name)
        inbox.take_over(tx, name, generation)
    return Fence(name, generation)


def add_project(store: Store, name: str, **values: Any) -> None:
    """Add a project's row; `values` override these columns."""
    columns: dict[str, Any] = {
        "name": name,
        "title": name,
        "repository": "/nowhere",
        "branch": f"nightcrew/{name}/integration",
        "base_branch": None,
        "base_commit": "0" * 40,
        "goal": "a goal",
        "spec": ProjectSpec(deliverables=("one", "two")),
        "checks": [],
        "checks_source": "spec",
        "engineers": 2,
        "with_qa": False,
    }
    with store.write() as tx:
        crew.add_project(tx, now=NOW, **(columns | values))


def put(tx: Transaction, recipient: str, *, sender: str = "human", **values: Any) -> int:
    """Put a text message into a mailbox; `values` override these columns."""
    columns: dict[str, Any] = {
        "kind": "text",
        "body": {"kind": "text", "v": 1, "text": "hello"},
        "priority": 50,
        "now": NOW,
    }
    return inbox.append(tx, sender=sender, recipient=recipient, **(columns | values))


def message(store: Store, message_id: int) -> Message:
    """Return the message; fails if it does not exist."""
    found = inbox.get(store, message_id)
    assert found is not None
    return found


def claim_next(store: Store, fence: Fence, *, now: float = NOW) -> Message | None:
    """Claim the next message as an actor does: peek without a lock, then claim under its fence."""
    row = inbox.peek(store, fence.agent, now=now)
    if row is None:
        return None
    with store.write(fence) as tx:
        return row if inbox.claim(tx, row.id, generation=fence.generation, now=now) else None


def drivers(store: Store) -> list[sqlite3.Connection]:
    """All connections of this thread, so that tests can trace their statements."""
    store.read()
    return [line.driver for line in (store._writer, *store._opened)]


def instructions(store: Store, read: Callable[[], object]) -> int:
    """The number of SQLite virtual machine instructions that a read on this thread executes."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    read()  # once before, as the first run also prepares the statement
    for driver in drivers(store):
        driver.set_progress_handler(tick, 1)
    try:
        read()
    finally:
        for driver in drivers(store):
            driver.set_progress_handler(None, 1)
    assert count > 0, "nothing was read"
    return count
