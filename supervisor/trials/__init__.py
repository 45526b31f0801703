"""Trials of a whole crew with a scripted model: the rehearsal, the crash drill, and the audit of both.

They use the real command line, processes, git and tmux, each in a folder of its own inside the home.
"""
