"""tmux windows in which people watch the agents: one window per agent, with its history and its live reply.

- `actor.py`: the tmux actor, which alone writes window files and drives tmux.
- `render.py`: a row of history as ANSI text. `files.py`: an agent's text in a file.
- `windows.py`: a tmux window for each file; `plan.py` decides what to change, `tmux_config.py` is its settings.
- `attach.py`: how the command line finds and enters windows. `errors.py`: errors of tmux and of window files.

Only `actor.py` imports other folders than store, log and the leaves. The one thing to know: tmux only displays.
It carries no message, and everything here can be deleted and is rebuilt from the store.
"""
