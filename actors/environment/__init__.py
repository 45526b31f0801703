"""What a project's commands run with: the user's toolchains, the checkout's dependencies, and set-up.

- `project.py`: the `Environment` of a project, and the sandbox policy that it gives. Start there.
- `toolchains.py`: PATH, folders and variables of the shell that deployed the project. It uses
  `version_managers.py` (pyenv, rustup, ...), `caches.py` (a table of known variables and folders) and
  `credentials.py` (files that are hidden).
- `folders.py`: dependency folders of the checkout (`.venv`, `node_modules`, ...) and its build folders.
- `build_caches.py`: build folders and caches that are kept for each worktree.
- `setup/`: commands that install dependencies, and running them once for each lockfile.
- `worktrees.py`: the sandbox for a worktree, with set-up of its own where a task changed dependencies.
- `proof.py`: whether the project's own packages resolve inside the worktree (`python_imports.py` for Python).
- `reading.py`: reading files of a worktree safely.

May import `actors.sandbox`, `actors.git` and the leaves; nothing of agents, the gate or the supervisor.
The one thing to know: an `Environment` is plain data, found once by the shell that deploys and kept in the
store, so a crew that a service manager starts later uses the same programs.
"""
