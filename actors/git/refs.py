"""Branches and tags: read them, and move those that belong to the crew.

The crew's references are `refs/heads/nightcrew/*` and `refs/tags/nightcrew/*`; no others are ever changed.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from actors.git.errors import BranchBlockedError, GitError, WorkspaceError
from actors.git.locks import hold
from actors.git.repository import Repository
from store.shared import ref_names

NO_COMMIT = "0" * 40  # git's name for "does not exist" in a compare-and-swap


def create_branch(repository: Repository, branch: str, start_commit: str, *, locks: Path) -> str:
    """Create `branch` at `start_commit` unless it exists; returns its commit. Safe to repeat."""
    ref = f"refs/heads/{branch}"
    try:
        move_ref(repository, ref, start_commit, NO_COMMIT, locks=locks)
    except GitError as error:
        if "exists; cannot create" in error.stderr:
            blocker = re.search(r"'refs/heads/([^']+)' exists; cannot create", error.stderr)
            name = blocker[1] if blocker else f"{ref_names.PREFIX}/…"
            raise BranchBlockedError(
                f"git cannot create the branch {branch} because your branch {name} exists; "
                f"rename yours: git branch -m {name} my-{name}"
            ) from error
        raise
    return head_of(repository, branch)


def head_of(repository: Repository, branch: str) -> str:
    """The commit of `branch`. Raises `WorkspaceError` if there is no such branch."""
    commit = commit_at(repository, f"refs/heads/{branch}")
    if commit is None:
        raise WorkspaceError(f"{repository.root} has no branch {branch}; it may have been deleted.")
    return commit


def commit_at(repository: Repository, name: str) -> str | None:
    """The full id of the commit that `name` (a reference or an id) names; None if there is none."""
    found = repository.git().attempt(
        "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
    )
    return found.stdout.strip() if found.exit_code == 0 else None


def is_ancestor(repository: Repository, older: str, newer: str) -> bool:
    """Whether commit `newer` is `older` or has it in its history."""
    git = repository.git()
    answer = git.attempt("merge-base", "--is-ancestor", older, newer)
    if answer.exit_code not in (0, 1):
        raise git.error(("merge-base", "--is-ancestor"), answer)
    return answer.exit_code == 0


def move_ref(repository: Repository, ref: str, new: str, old: str, *, locks: Path) -> bool:
    """Set one of the crew's references to `new` if it is at `old` (`NO_COMMIT`: if it does not exist).

    Compare-and-swap: returns False, changing nothing, if it is at another commit. Deletes a lock file that a
    killed git left behind, which is safe while we hold our own lock.
    """
    if not re.match(rf"refs/(heads|tags)/{ref_names.PREFIX}/", ref):
        raise WorkspaceError(
            f"{ref} does not belong to the crew, which only moves references under {ref_names.PREFIX}/."
        )
    with hold(locks, "reference", f"{repository.git_dir}:{ref}") as descriptor:
        with contextlib.suppress(
            NotADirectoryError
        ):  # a branch of the user has this name; git reports it below
            (repository.git_dir / f"{ref}.lock").unlink(missing_ok=True)
        git = repository.git((descriptor,))
        outcome = git.attempt("update-ref", "--create-reflog", ref, new, old)
        if outcome.exit_code == 0:
            return True
        if "but expected" in outcome.stderr or "reference already exists" in outcome.stderr:
            return False
        if "unable to resolve reference" in outcome.stderr:
            return False
        raise git.error(("update-ref", ref), outcome)
