"""A merge into a worktree that is not finished: its files are being written, or it has conflicts.

Two small files beside the worktree's index, where no agent can write, record it:

- `nightcrew-switch` exists while files are being written. After a crash they are written again.
- `nightcrew-merge` exists from a conflict until its markers are gone. The next commit then gets the merged
  commit as its second parent.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from actors.git.errors import GitError, WorkspaceError
from actors.git.refs import head_of, move_ref
from actors.git.worktree import Worktree
from store.shared.replace import replace_file

_MARKERS = (b"<<<<<<< ", b">>>>>>> ")


@dataclass(frozen=True, slots=True)
class Switch:
    """Replace the worktree's files by those of `tree`, then move its branch from `head` to `commit`.

    `commit` is None if the branch stays at `head`. `theirs` is the commit that is merged, `files` are those
    with conflicts.
    """

    head: str
    tree: str
    commit: str | None
    theirs: str
    files: tuple[str, ...]


def switch(worktree: Worktree, target: Switch, *, locks: Path, keep_fds: Sequence[int]) -> None:
    """Apply the switch to a worktree without uncommitted work. After a crash `finish_interrupted` repeats it."""
    replace_file(worktree.git_dir / "nightcrew-switch", json.dumps(asdict(target)), durable=True)
    finish_interrupted(worktree, locks=locks, keep_fds=keep_fds)


def finish_interrupted(worktree: Worktree, *, locks: Path, keep_fds: Sequence[int]) -> None:
    """Apply the recorded switch, if there is one. If that fails, delete the record; raises `WorkspaceError`."""
    record = worktree.git_dir / "nightcrew-switch"
    if worktree.branch is None or not record.exists():
        return
    target = Switch(**json.loads(record.read_text(encoding="utf-8")))
    try:
        if head_of(worktree.repository, worktree.branch) == target.head:
            worktree.git(keep_fds).run("read-tree", "--reset", "-u", target.tree, timeout_s=600)
            if target.commit is not None:
                ref = f"refs/heads/{worktree.branch}"
                move_ref(worktree.repository, ref, target.commit, target.head, locks=locks)
    except GitError as error:
        record.unlink()
        worktree.git(keep_fds).run("read-tree", "HEAD")
        raise WorkspaceError(f"{worktree.path} could not be merged with {target.theirs}: {error}") from error
    if target.files:
        pending = {"theirs": target.theirs, "files": list(target.files)}
        replace_file(worktree.git_dir / "nightcrew-merge", json.dumps(pending), durable=True)
    record.unlink()


def unresolved_files(worktree: Worktree) -> tuple[str, ...]:
    """Files of the pending conflict that still hold conflict markers."""
    return tuple(name for name in _pending(worktree)[1] if _has_markers(worktree.path / name))


def resolved_commit(worktree: Worktree) -> str | None:
    """The merged commit, if a merge is pending and no conflict marker is left; otherwise None."""
    theirs, _ = _pending(worktree)
    return None if theirs is None or unresolved_files(worktree) else theirs


def forget(worktree: Worktree) -> None:
    """Delete the record of the pending merge, because it was committed."""
    (worktree.git_dir / "nightcrew-merge").unlink(missing_ok=True)


def _pending(worktree: Worktree) -> tuple[str | None, tuple[str, ...]]:
    with contextlib.suppress(FileNotFoundError):
        record = json.loads((worktree.git_dir / "nightcrew-merge").read_text(encoding="utf-8"))
        return record["theirs"], tuple(record["files"])
    return None, ()


def _has_markers(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return any(line.startswith(_MARKERS) for line in file)
