"""Mechanisms that all packages share, one owner each. They know nothing of the store and import nothing of ours.

`file_lock.py`: locks between processes.
"""
