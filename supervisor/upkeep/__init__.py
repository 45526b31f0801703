"""The supervisor's background work: nightly housekeeping, keeping the machine awake, detecting clock jumps.

Anything that can block on a disk or a system service runs in its own process.

    jobs           starts and ends the processes of `housekeeping` and `inhibit`
    housekeeping   backups, and deleting old rows and files
    inhibit        keeps the machine awake
    clock          detects sleep and clock changes
    shifted_clock  a clock that a drill can set
"""
