"""The crew's one SQLite file: typed rows and the only ways to change them.

It knows no process, no tmux, no git and no model, and imports nothing of the other packages. `schema.py` declares
the tables, `rows.py` what a read returns, `states.py` the enums; each of the other modules owns the statements
of a few tables. Every function takes the open `Store` to read, or a `Transaction` to write.
"""
