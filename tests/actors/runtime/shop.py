"""A project with a real repository, its gate and its team, each driven by hand on the test's own thread.

Only the model is scripted. A check may stop in the middle (`{held}` in its command), so that a test changes the
world while the gate is at work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from actors.agent.agent import Agent
from actors.gate.actor import MergeGate
from actors.git.checkouts import ensure_worktree
from actors.git.commits import commit_all
from actors.git.refs import create_branch, head_of
from actors.git.repository import open_repository
from actors.home import Home
from actors.rehearsal.script import parse_script
from actors.rehearsal.server import RehearsalServer
from actors.runtime import mailbox
from actors.runtime.actor import Actor, Recover, Wake
from actors.runtime.context import Runtime
from actors.runtime.messages import AnyMessage, TaskSubmitted
from actors.runtime.wake import Waker
from actors.settings import Config
from store import crew, history, inbox, tasks
from store.engine import Store
from store.entries import Entry, ToolResultBody
from store.rows import Message, ProjectSpec, Task
from store.states import EntryKind, Role, TaskState
from tests.actors.conftest import Clock
from tests.actors.git.user_repository import UserRepository, write
from tests.support.script_words import Scene
from tests.support.stores import NOW, add_agent, add_project, make_file, new_incarnation
from tests.support.waiting import eventually

NAME = "shop"
PM, QA, GATE = f"pm.{NAME}", f"qa.{NAME}", f"gate.{NAME}"
FIRST, SECOND = f"engineer-1.{NAME}", f"engineer-2.{NAME}"
INTEGRATION = f"nightcrew/{NAME}/integration"
CHECK = "test -e good.txt"
GOOD, BAD = {"good.txt": "1\n"}, {"bad.txt": "1\n"}
AnyActor = TypeVar("AnyActor", bound=Actor)


@dataclass
class Shop:
    """Open for one test; `checks` and `with_qa` are the project's, `scenes` the model's."""

    folder: Path
    store: Store
    home: Home
    waker: Waker
    user: UserRepository
    config: Config
    model: RehearsalServer
    clock: Clock = field(default_factory=Clock)
    agents: list[Agent] = field(default_factory=list)

    # -- actors --------------------------------------------------------------------------------

    def started(self, actor_class: type[AnyActor], name: str) -> AnyActor:
        """A new incarnation that has recovered. Its thread is never started: the test's is its own."""
        generation = new_incarnation(self.store, name).generation
        actor = actor_class(
            Runtime(name, generation, self.home, self.config, self.store, self.waker, clock=self.clock)
        )
        actor.on_receive(Recover())
        return actor

    def gate(self) -> MergeGate:
        return self.started(MergeGate, GATE)

    def agent(self, name: str = FIRST) -> Agent:
        """A killed one's connection to the model, which ends with its process, is closed at the test's end."""
        self.agents.append(self.started(Agent, name))
        return self.agents[-1]

    def tell(self, recipient: str, message: AnyMessage, *, sender: str = PM, priority: int = 50) -> int:
        with self.store.write() as tx:
            return mailbox.post(tx, sender, recipient, message, now=self.clock(), priority=priority)

    def entries(self, agent: str, kind: EntryKind) -> list[Entry]:
        return [entry for entry in history.since(self.store, 0) if (entry.agent, entry.kind) == (agent, kind)]

    def results(self, agent: str) -> list[tuple[str, bool, str]]:
        """Tool, whether it worked, and what the model was told, of each call in the order of its answer."""
        found = [entry.body for entry in self.entries(agent, EntryKind.TOOL_RESULT)]
        return [(body.tool, body.ok, body.text) for body in found if isinstance(body, ToolResultBody)]

    def letters(self, recipient: str, kind: str) -> list[Message]:
        """Messages of a kind in a mailbox, whatever became of them, oldest first."""
        return [row for row in reversed(inbox.listed(self.store, recipient=recipient)) if row.kind == kind]

    # -- work ----------------------------------------------------------------------------------

    def plan(self, title: str = "Make it good", *, assignee: str = FIRST) -> int:
        """A task assigned to `assignee`."""
        with self.store.write() as tx:
            task = tasks.add(
                tx, project=NAME, title=title, description=title, role=Role.ENGINEER, deliverable=1,
                by=PM, now=NOW,
            )  # fmt: skip
            tasks.move(tx, task, TaskState.ASSIGNED, by=PM, reason="assigned", now=NOW, assignee=assignee)
            crew.change_agent(tx, assignee, task=task)
        return task

    def begin(self, task: int) -> None:
        with self.store.write() as tx:
            tasks.move(tx, task, TaskState.IN_PROGRESS, by=FIRST, reason="started", now=NOW)

    def submit(self, task: int, files: dict[str, str]) -> str:
        """What `submit_task` does for a task in progress; returns the commit."""
        row = self.task(task)
        repository = open_repository(self.user.path)
        path = self.home.worktree(NAME, f"t{task}")
        start = head_of(repository, INTEGRATION)
        worktree = ensure_worktree(repository, path, row.branch, start, locks=self.home.locks)
        write(path, files)
        commit_all(worktree, "Work", locks=self.home.locks)
        commit = head_of(repository, row.branch)
        with self.store.write() as tx:
            tasks.move(
                tx, task, TaskState.SUBMITTED, by=FIRST, reason="done", now=NOW, submitted_commit=commit
            )
            mailbox.post(tx, FIRST, GATE, TaskSubmitted(task=task, commit=commit), now=NOW)
        return commit

    def submitted(self, files: dict[str, str]) -> int:
        """A task that waits for the gate."""
        task = self.plan()
        self.begin(task)
        self.submit(task, files)
        return task

    def task(self, task: int) -> Task:
        return tasks.get(self.store, task)

    def move(self, task: int, *states: TaskState) -> None:
        with self.store.write() as tx:
            for state in states:
                tasks.move(tx, task, state, by="human", reason="meanwhile", now=NOW)

    # -- the repository ------------------------------------------------------------------------

    def head(self) -> str:
        return self.user.git("rev-parse", INTEGRATION)

    def merges(self) -> int:
        return int(self.user.git("rev-list", "--first-parent", "--merges", "--count", INTEGRATION))

    def tags(self) -> list[str]:
        return self.user.git("tag", "--list", "nightcrew/*").splitlines()

    # -- checks that stop in the middle --------------------------------------------------------

    @property
    def held_check(self) -> str:
        """A check that says that it runs, and goes on when it is let go."""
        wait = f"touch {self.folder}/held; while [ ! -e {self.folder}/go ]; do sleep 0.01; done"
        return f"{wait}; {CHECK}"

    def while_checking(self, gate: MergeGate, change: Callable[[], object]) -> None:
        """Have the gate work off its mailbox; `change` happens while the first check runs."""
        with ThreadPoolExecutor(1) as pool:
            draining = pool.submit(gate.drain)
            held = self.folder / "held"
            eventually(lambda: held.exists() or draining.done(), "the check runs")
            try:
                change()
            finally:
                (self.folder / "go").touch()
            draining.result(timeout=30)


def wake(actor: Actor) -> None:
    """Have it look into its mailbox and work by the clock, as its process would; what fails here is raised."""
    actor.on_receive(Wake())


@contextmanager
def opened(
    folder: Path,
    *,
    checks: list[str] | None = None,
    with_qa: bool = False,
    scenes: list[Scene] | None = None,
) -> Iterator[Shop]:
    """The project with manager, tester and two engineers; nobody of them runs yet."""
    home = Home(folder / "home")
    home.make()
    waker = Waker(home.run)
    store = Store(make_file(home.store), notify=waker)
    user = UserRepository(folder / "repository", files={"README.md": "# Shop\n"})
    create_branch(open_repository(user.path), INTEGRATION, user.git("rev-parse", "main"), locks=home.locks)
    with RehearsalServer(parse_script({"scene": scenes or []})) as server:
        config = Config.model_validate(
            {
                "model": {"hosts": (server.url,), "preload": False},
                "sandbox": {"mode": "off"},
                "retention": {"min_free_mb": 0},
            }
        )
        shop = Shop(folder, store, home, waker, user, config, server)
        named = [command.format(held=shop.held_check) for command in checks or [CHECK]]
        spec = ProjectSpec(deliverables=("Make it good", "Keep the books"))
        add_project(
            store, NAME, repository=str(user.path), base_commit=shop.head(), checks=named, with_qa=with_qa,
            spec=spec,
        )  # fmt: skip
        add_agent(store, GATE, project=NAME)
        add_agent(store, PM, role=Role.PROJECT_MANAGER, project=NAME)
        add_agent(store, QA, role=Role.QA, project=NAME)
        for name in (FIRST, SECOND):
            add_agent(store, name, role=Role.ENGINEER, project=NAME)
        try:
            yield shop
        finally:
            for agent in shop.agents:
                agent.close()
            store.close()
            waker.close()
