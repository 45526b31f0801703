"""Runs the checks on the base, on the candidate, and on mixtures of both, each in a fresh scratch worktree.

| look           | product code | tests and settings | question                                         |
|----------------|--------------|--------------------|--------------------------------------------------|
| base           | base         | base               | what passed before?                              |
| candidate      | candidate    | candidate          | does what it brings fit together?                |
| base tests     | candidate    | base               | do the existing tests pass, as they were?        |
| new tests      | base         | candidate          | do the new tests fail without the change?        |
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actors import log
from actors.gate.checks import CheckReport, CheckRunner, run_checks
from actors.gate.protection.files import Kind, kind_of
from actors.gate.tampering import is_test_file
from actors.git.checkouts import checkout_scratch, remove_worktree
from actors.git.delete import delete_tree
from actors.git.errors import WorkspaceError
from actors.git.repository import Repository
from actors.git.worktree import Worktree

MAX_RESTORED = 50


@dataclass(frozen=True, slots=True)
class Looks:
    """Runs `commands` at commits of one repository, one look after the other: they share the project's caches."""

    repository: Repository
    commands: Sequence[str]
    run: CheckRunner
    scratch: Path
    locks: Path
    timeout_s: float

    def at(self, *commits: str) -> list[CheckReport]:
        """The reports on these commits, in order."""
        return [self._look(commit) for commit in commits]

    def sweep(self) -> None:
        """Remove scratch worktrees that a crash left. What cannot be removed is not used again."""
        if not self.scratch.is_dir():
            return
        for path in sorted(self.scratch.iterdir()):
            if path.is_dir() and not path.is_symlink():
                self._remove(path)

    def _look(self, commit: str) -> CheckReport:
        path = self.scratch / f"{commit[:10]}-{secrets.token_hex(4)}"
        worktree = checkout_scratch(self.repository, commit, path, locks=self.locks)
        try:
            return run_checks(
                worktree.path,
                self.commands,
                self.run,
                commit=commit,
                timeout_s=self.timeout_s,
                restore=lambda: restore(worktree),
            )
        finally:
            self._remove(path)

    def _remove(self, path: Path) -> None:
        try:
            remove_worktree(self.repository, path, locks=self.locks)
        except WorkspaceError as error:
            log.warning("scratch_not_removed", path=str(path), reason=str(error)[:300])


def restore(worktree: Worktree) -> tuple[str, ...]:
    """Put back the tests and settings that a command changed in its worktree; returns their paths."""
    git = worktree.git()
    git.attempt("update-index", "-q", "--refresh")
    changed = [path for path in git.names("diff-files", "-z", "--name-only") if kind_of(path) is not None]
    left = [
        path for path in git.names("ls-files", "-z", "--others", "--exclude-standard") if _is_loaded(path)
    ]
    touched = sorted({*changed, *left})[:MAX_RESTORED]
    for path in touched:
        delete_tree(worktree.path / path)
    if changed:
        git.run("checkout-index", "--force", "-z", "--stdin", stdin="".join(f"{path}\0" for path in changed))
    return tuple(touched)


def _is_loaded(path: str) -> bool:
    """Whether a runner would find the file by itself. Data that tests write is not meant."""
    return is_test_file(path) or kind_of(path) in (Kind.SUPPORT, Kind.SETTINGS, Kind.MANIFEST)
