"""What the supervisor decides: child specs, when to restart and how soon, in which order to start and stop.

Pure: no I/O, no clock. Times and random numbers are passed in. `tree.py` alone knows the agents' rows.

    spec           child specs
    intensity      how often a child may crash
"""
