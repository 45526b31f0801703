"""Everything the crew does with git: the user's repository, a worktree and a branch per task, commits, merges.

- `command.py`: the only module that starts git. `locks.py`: locks between processes.
- `repository.py`: check and describe the user's repository. `refs.py`: read references, move the crew's own.
- `worktree.py`: a worktree as a value. `checkouts.py`: create, repair and remove worktrees.
- `delete.py`: delete a folder tree of any depth.
- `commits.py`: commit everything in a worktree.
- `merge.py`: merge without a checkout, and into a worktree. `pending_merge.py`: a merge that is not finished.
- `errors.py`: the errors of git, locks, repositories and worktrees.

Imports only `store/shared`, the store's failpoints and the leaves of `actors/`. The one thing to know: every
function can be repeated after a crash at any instant. Most take `locks`, the crew's folder of lock files.
"""
