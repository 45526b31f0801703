"""What people see: history rows as ANSI text, the files that windows show, and the tmux server for them.

`render.py` turns a committed row into text, `files.py` keeps one agent's text on disk, `windows.py` keeps a
tmux window open on each such file, `attach.py` is for the command line. tmux only shows: it carries no
message, and everything here can be deleted and comes back from the store.
"""
