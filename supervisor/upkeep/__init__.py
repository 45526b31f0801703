"""Work beside the actors: nightly housekeeping, keeping the machine awake, noticing that a clock jumped.

Whatever may wait for a disk or a system service runs in a process of its own.

    jobs           the processes for both
    housekeeping   backups, and deleting old rows and files
    inhibit        keeps the machine awake
    clock          notices sleep and clock changes
    shifted_clock  a clock that a drill can set
"""
