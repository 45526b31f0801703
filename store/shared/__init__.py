"""Mechanisms that all packages share, one owner each. They import nothing of the project.

- `file_lock.py`: locks between processes.
- `replace.py`: write a file in one step.
- `ref_names.py`: the crew's branches and tags.
- `backoff.py`: how long to wait after a failure.
"""
