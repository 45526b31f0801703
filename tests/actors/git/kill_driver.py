"""Run one scenario many times, each time killed at another git command and then repeated to its end.

A stand-in named `git`, first on PATH, counts the commands. At the chosen one it kills its parent with
SIGKILL, after the command (which is: before the next) or while it goes on running as an orphan.
Single-threaded, so that it may fork. Prints one JSON line per kill: the instant, and what the repeat came to.

Usage: python -m tests.git.kill_driver SCENARIO MODE FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from actors.gate.merging import evaluate, land
from actors.git.checkouts import ensure_worktree, remove_worktree
from actors.git.commits import commit_all
from actors.git.merge import sync_worktree
from actors.git.refs import create_branch, head_of
from actors.git.repository import open_repository
from tests.actors.git.user_repository import UserRepository, run_in_shell, write

INTEGRATION = "nightcrew/demo/integration"
BRANCH = "nightcrew/demo/t1"

STAND_IN = """#!/bin/sh
n=$(($(cat "$KILL_COUNT") + 1))
echo $n > "$KILL_COUNT"
if [ "$n" = "$KILL_AT" ]; then
    echo "$*" > "$KILL_COUNT.hit"
    case $KILL_MODE in
        after) "$REAL_GIT" "$@" > /dev/null 2>&1; kill -KILL $PPID; exit 1 ;;
        during) kill -KILL $PPID; exec "$REAL_GIT" "$@" > /dev/null 2>&1 ;;
    esac
fi
exec "$REAL_GIT" "$@"
"""


class World:
    """A user's repository with an integration branch, and the path of a task's worktree."""

    def __init__(self, folder: Path) -> None:
        self.user = UserRepository(folder / "rëpo", files={"a.txt": "1\n2\n3\n4\n5\n", "b.txt": "b\n"})
        self.repository = open_repository(self.user.path)
        self.path = folder / "w" / "t1"
        self.scratch = folder / "scratch"
        self.locks = folder / "locks"
        create_branch(self.repository, INTEGRATION, self.repository.head_commit, locks=self.locks)


def work_and_commit(world: World) -> None:
    """Create the worktree, change files, commit. A repeat does not write the files again."""
    start = head_of(world.repository, INTEGRATION)
    worktree = ensure_worktree(world.repository, world.path, BRANCH, start, locks=world.locks)
    write(world.path, {"neu ü.txt": "x\n", "a.txt": "1\n2\n3\n4\nmine\n"})
    (world.path / "b.txt").unlink(missing_ok=True)
    commit_all(worktree, "Work", locks=world.locks)


def prepare_sync(world: World) -> None:
    """A task with changes, and an integration branch that has moved since."""
    work_and_commit(world)
    start = world.repository.head_commit
    other = world.path.with_name("other")
    worktree = ensure_worktree(world.repository, other, INTEGRATION, start, locks=world.locks)
    write(other, {"a.txt": "theirs\n2\n3\n4\n5\n", "accepted/deep.txt": "y\n"})
    commit_all(worktree, "Accepted", locks=world.locks)


def sync(world: World) -> None:
    """What an agent does after a restart: find its worktree, then continue."""
    start = head_of(world.repository, INTEGRATION)
    worktree = ensure_worktree(world.repository, world.path, BRANCH, start, locks=world.locks)
    commit_all(worktree, "Whatever a kill left", locks=world.locks)
    sync_worktree(worktree, INTEGRATION, locks=world.locks)


def gate(world: World) -> None:
    """Check and merge the task's branch."""
    result = evaluate(
        world.repository,
        integration=INTEGRATION,
        commit=head_of(world.repository, BRANCH),
        message="Merge t1",
        commands=("test -f 'neu ü.txt' -o ! -f x",),
        run=run_in_shell,
        scratch=world.scratch,
        locks=world.locks,
    )
    tag = land(
        world.repository, project="demo", task="t1", integration=INTEGRATION, result=result, locks=world.locks
    )
    assert tag == "nightcrew/demo/stable-1-t1", (result, tag)


def remove(world: World) -> None:
    """Remove the worktree."""
    head_of(world.repository, BRANCH)
    remove_worktree(world.repository, world.path, locks=world.locks)
    head_of(world.repository, BRANCH)


def nothing(world: World) -> None:
    """A scenario without preparation."""


SCENARIOS: dict[str, tuple[Callable[[World], None], Callable[[World], None]]] = {
    "commit": (nothing, work_and_commit),
    "sync": (prepare_sync, sync),
    "gate": (work_and_commit, gate),
    "remove": (work_and_commit, remove),
}


def end_state(world: World) -> dict[str, object]:
    """The state that must be the same, however often the scenario was killed."""
    git = world.user.git
    files = {
        path.relative_to(world.path).as_posix(): path.read_text()
        for path in sorted(world.path.rglob("*"))
        if path.is_file() and path.name != ".git"
    }
    return {
        "files": files,
        "task": git("rev-parse", f"{BRANCH}^{{tree}}"),
        "integration": git("rev-parse", f"{INTEGRATION}^{{tree}}"),
        "merges": git("rev-list", "--merges", "--count", INTEGRATION),
        "task merges": git("rev-list", "--merges", "--count", BRANCH),
        "tags": git("tag", "--list"),
        "worktrees": git("worktree", "list", "--porcelain").count("worktree "),
        "dirty": git("status", "--porcelain", cwd=world.path) if world.path.exists() else "",
        "fsck": git("fsck", "--no-dangling", "--strict"),
        "locks": sorted(str(path) for path in (world.user.path / ".git").rglob("*.lock")),
    }


def run_killed(world: World, scenario: Callable[[World], None]) -> bool:
    """Run the scenario in a forked child; returns whether it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            scenario(world)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit("the scenario failed without being killed")
    return os.WIFSIGNALED(status)


def main(name: str, mode: str, folder: Path) -> None:
    """Kill at the first git command, the second, and so on, until a run completes."""
    prepare, scenario = SCENARIOS[name]
    stand_ins = folder / "bin"
    stand_ins.mkdir(parents=True)
    os.environ["REAL_GIT"] = str(shutil.which("git"))
    (stand_ins / "git").write_text(STAND_IN)
    (stand_ins / "git").chmod(0o755)
    path = os.environ["PATH"]
    number, killed = 0, True
    while killed:
        number += 1
        world = World(folder / str(number))
        prepare(world)
        count = folder / str(number) / "count"
        count.write_text("0")
        os.environ |= {"KILL_COUNT": str(count), "KILL_AT": str(number), "KILL_MODE": mode}
        os.environ["PATH"] = f"{stand_ins}:{path}"
        killed = run_killed(world, scenario)
        os.environ["PATH"] = path
        hit = count.with_suffix(".hit")
        if killed:
            scenario(world)
        instant = hit.read_text().strip() if hit.exists() else "never"
        print(json.dumps({"instant": instant, "killed": killed, "state": end_state(world)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
