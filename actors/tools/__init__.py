"""The tools that the model can call.

- Tools that work on a worktree: `shell.py`, `files.py` (read_file, write_file), `edits.py` (edit_file). Their
  interface is `base.WorktreeTool`. `confined.py` opens files safely, `document.py` keeps a text file's encoding,
  `matching.py` finds the passage to edit, `dependencies.py` knows the folders of installed packages.
- Tools that act on the crew: `tasks.py`, `verdicts.py`, `messages.py`. Their interface is `crew_tool.CrewTool`.
- `registry.py` has all of them by name.

Imports the sandbox, git, work and runtime, nothing of the agent. The one thing to know: a call must never happen
twice. A crew tool commits together with its result. A worktree tool stores evidence before it runs, and finds
out from that evidence after a crash what happened.
"""
