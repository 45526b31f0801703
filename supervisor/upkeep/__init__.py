"""Work beside the actors: nightly housekeeping, keeping the machine awake, noticing that a clock jumped.

Whatever may wait for a disk or a system service runs in a process of its own.
"""
